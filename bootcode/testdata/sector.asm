; Stands in for the boot sector of a partition: tells over COM1 what it was started with, and ends the virtual machine.

        bits    16
        cpu     386
        org     7C00h

        mov     di, si
        mov     bx, dx
        xor     ax, ax
        mov     ds, ax
        mov     si, t_dx
        call    print
        mov     ax, bx
        call    word_
        mov     si, t_si
        call    print
        mov     ax, di
        call    word_
        mov     si, t_lba
        call    print
        mov     ax, [di + 10]
        call    word_
        mov     ax, [di + 8]
        call    word_
        mov     si, t_end
        call    print
        mov     al, 31h
        out     0F4h, al
        hlt

word_:  mov     cx, 4
.digit: rol     ax, 4
        push    ax
        and     al, 15
        add     al, '0'
        cmp     al, '9'
        jbe     .put
        add     al, 'a' - '0' - 10
.put:   call    put
        pop     ax
        loop    .digit
        ret

print:  lodsb
        test    al, al
        jz      .end
        call    put
        jmp     print
.end:   ret

put:    push    ax
        mov     dx, 3FDh
.wait:  in      al, dx
        test    al, 20h
        jz      .wait
        pop     ax
        mov     dx, 3F8h
        out     dx, al
        ret

t_dx    db "sector: dx=", 0
t_si    db " si=", 0
t_lba   db " lba=", 0
t_end   db " end", 13, 10, 0

        times   1FEh - ($ - $$) db 0
        dw      0AA55h
