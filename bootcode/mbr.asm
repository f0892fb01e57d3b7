; Master boot record: starts the boot sector of the active partition.
;
; Entry: the BIOS has loaded this sector to linear 7C00h; DL is the drive. It moves itself to 0600h, so that the boot sector can take
; its place, and hands over at 0000:7C00 with DL = drive and DS:SI -> the entry of the active partition.
;
; Sectors are read by their number (INT 13h extensions), five times before it gives up. 440 bytes: the disk signature follows.

        bits    16
        cpu     386
        org     0600h

loaded  equ     7C00h
table   equ     0600h + 1BEh

start:  cli
        xor     ax, ax
        mov     ss, ax
        mov     sp, loaded
        mov     ds, ax
        mov     es, ax
        sti
        cld
        mov     si, loaded
        mov     di, start
        mov     cx, 256
        rep movsw
        jmp     0:moved

moved:  mov     [drive], dl
        mov     di, table               ; the first entry with status 80h; a status but that and 0 is no table
        mov     cx, 4
.entry: mov     al, [di]
        cmp     al, 80h
        je      .active
        mov     si, no_table
        test    al, al
        jnz     die
        add     di, 16
        loop    .entry
        mov     si, no_active
        jmp     die

.active:
        mov     ah, 41h                 ; are there the extensions, with AH=42h?
        mov     bx, 55AAh
        mov     dl, [drive]
        push    di
        int     13h
        pop     di
        mov     si, no_lba
        jc      die
        cmp     bx, 0AA55h
        jne     die
        test    cl, 1
        jz      die

        mov     eax, [di + 8]           ; first sector of the partition
        mov     [packet.lba], eax
        mov     bp, 5
.read:  mov     byte [packet.count], 1  ; the BIOS changes it when it fails
        mov     ah, 42h
        mov     dl, [drive]
        mov     si, packet
        pusha
        int     13h
        popa
        jnc     .check
        xor     ah, ah                  ; reset the drive
        pusha
        int     13h
        popa
        dec     bp
        jnz     .read
        mov     si, no_read
        jmp     die

.check: mov     si, no_system
        cmp     word [loaded + 1FEh], 0AA55h
        jne     die
        mov     dl, [drive]
        mov     si, di
        jmp     0:loaded

die:    lodsb                           ; prints the text at SI and lets the user restart
        test    al, al
        jz      .wait
        mov     ah, 0Eh
        mov     bx, 7
        push    si
        int     10h
        pop     si
        jmp     die
.wait:  sti
        hlt
        jmp     .wait

no_table        db "Invalid partition table", 13, 10, 0
no_active       db "No active partition", 13, 10, 0
no_lba          db "The BIOS cannot read this disk by sector number", 13, 10, 0
no_read         db "Error reading the disk", 13, 10, 0
no_system       db "The active partition does not boot", 13, 10, 0

        align   4, db 0
packet:         db 16, 0                ; what AH=42h reads, and where to
.count          dw 1
                dw loaded, 0            ; offset, segment
.lba            dq 0

drive           db 0

        times   440 - ($ - $$) db 0
