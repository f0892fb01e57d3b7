; Stands in for bootmgr with Emergency Management Services: says a menu over COM1, moves the choice at the arrow key, and at Enter says
; that the second entry cannot be started. What it says are three files of the test: MENU, MOVED and FAILED.

        bits    16
        cpu     386
        org     0

port    equ     3F8h

        jmp     near start
        times   1D8h - ($ - $$) db 0    ; as in bootmgr, which begins E9 D5 01

start:  cli
        mov     ax, cs
        mov     ds, ax
        mov     dx, port + 3
        mov     al, 80h
        out     dx, al                  ; the divisor: 115200 baud
        mov     dx, port
        mov     al, 1
        out     dx, al
        inc     dx
        xor     al, al
        out     dx, al
        mov     dx, port + 3
        mov     al, 3                   ; 8 bits, no parity
        out     dx, al

        mov     si, menu
        mov     cx, menu.end - menu
        call    say
key:    call    hear
        cmp     al, 27                  ; arrow down is ESC [ B
        jne     .enter
        call    hear
        cmp     al, '['
        jne     key
        call    hear
        cmp     al, 'B'
        jne     key
        mov     si, moved
        mov     cx, moved.end - moved
        call    say
        jmp     key
.enter: cmp     al, 13
        jne     key
        mov     si, failed
        mov     cx, failed.end - failed
        call    say
        jmp     key

hear:   mov     dx, port + 5
.wait:  in      al, dx
        test    al, 1
        jz      .wait
        mov     dx, port
        in      al, dx
        ret

say:    mov     dx, port + 5
.wait:  in      al, dx
        test    al, 20h
        jz      .wait
        mov     dx, port
        lodsb
        out     dx, al
        loop    say
        ret

menu:   incbin  MENU
.end:
moved:  incbin  MOVED
.end:
failed: incbin  FAILED
.end:
