; Stands in for bootmgr: tells over COM1 what it was started with, and ends the virtual machine.
;
; The test appends noise, sets the length, and knows the sum of what follows the first 16 bytes.

        bits    16
        cpu     386
        org     0

%ifndef START
%define START   1D8h                    ; as in bootmgr, which begins E9 D5 01; less for a file in its record
%endif

        jmp     near start
        times   8 - ($ - $$) db 0
length  dd      0                       ; of the whole file

; Variables in the header, which the sum leaves out.
registers       equ 4                   ; or of the general registers but EDX
segments        equ 12                  ; or of DS, ES and SS
stack           equ 14

        times   START - ($ - $$) db 0

start:  cli
        mov     [cs:registers], eax
        mov     eax, ebx
        or      eax, ecx
        or      eax, esi
        or      eax, edi
        or      eax, ebp
        or      [cs:registers], eax
        mov     ax, ds
        or      [cs:segments], ax
        mov     ax, es
        or      [cs:segments], ax
        mov     ax, ss
        or      [cs:segments], ax
        mov     [cs:stack], sp

        mov     ax, cs
        mov     ds, ax
        mov     si, t_registers
        mov     eax, [registers]
        call    field
        mov     si, t_cs
        xor     eax, eax
        mov     ax, cs
        call    field
        mov     si, t_edx
        mov     eax, edx
        call    field
        mov     si, t_segments
        movzx   eax, word [segments]
        call    field
        mov     si, t_stack
        movzx   eax, word [stack]
        call    field
        xor     ax, ax
        mov     es, ax
        mov     si, t_hidden
        mov     eax, [es:7C1Ch]
        call    field
        mov     si, t_bytes
        movzx   eax, word [es:7C0Bh]
        call    field
        mov     si, t_oem
        mov     eax, [es:7C03h]
        call    field

        ; The sum is over bytes, each time rotated by one.
        mov     ecx, [length]
        sub     ecx, 16
        xor     edx, edx
        mov     ax, cs
        inc     ax
        mov     es, ax
        xor     di, di
.byte:  movzx   eax, byte [es:di]
        rol     edx, 1
        add     edx, eax
        inc     di
        cmp     di, 16
        jb      .same
        xor     di, di
        mov     ax, es
        inc     ax
        mov     es, ax
.same:  dec     ecx
        jnz     .byte
        mov     si, t_sum
        mov     eax, edx
        call    field
        mov     si, t_end
        call    print
        mov     al, 31h
        out     0F4h, al
        hlt

field:  call    print                   ; prints the name SI and EAX
        mov     cx, 8
.digit: rol     eax, 4
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

print:  push    ax
.next:  lodsb
        test    al, al
        jz      .end
        call    put
        jmp     .next
.end:   pop     ax
        ret

put:    push    dx
        push    ax
        mov     dx, 3FDh
.wait:  in      al, dx
        test    al, 20h
        jz      .wait
        pop     ax
        mov     dx, 3F8h
        out     dx, al
        pop     dx
        ret

t_cs            db " cs=", 0
t_edx           db " edx=", 0
t_registers     db 13, 10, "bootmgr: registers=", 0
t_segments      db " segments=", 0
t_stack         db " sp=", 0
t_hidden        db " hidden=", 0
t_bytes         db " sector=", 0
t_oem           db " oem=", 0
t_sum           db " sum=", 0
t_end           db " end", 13, 10, 0
