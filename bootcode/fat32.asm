; Boot sector of a FAT32 volume: finds \bootmgr, loads it and starts it. It is one sector, so that it needs no reserved sector, and
; therefore reads one sector at a time.
;
; Entry and hand-over are those of ntfs.asm: DL is the drive, the file goes to linear 20000h, and sector 0 stays at 0000:7C00 (but for
; the drive's number at 40h).
;
; Source of the format: Microsoft, "FAT: General Overview of On-Disk Format", version 1.03.

        bits    16
        cpu     386
        org     7C00h

; Fields of the boot sector.
bytes_per_sector        equ 7C0Bh
sectors_per_cluster     equ 7C0Dh
reserved_sectors        equ 7C0Eh
number_of_fats          equ 7C10h
hidden_sectors          equ 7C1Ch
sectors_per_fat         equ 7C24h
root_cluster            equ 7C2Ch
drive                   equ 7C40h

TARGET          equ 2000h
TABLE           equ 7E00h               ; a sector of the file allocation table
ENTRIES         equ 8000h               ; a sector of the root directory
NAME_SIZE       equ 11

        jmp     short start
        nop
        times   5Ah - ($ - $$) db 0

start:  cli
        xor     ax, ax
        mov     ss, ax
        mov     sp, 7C00h
        mov     ds, ax
        mov     es, ax
        sti
        cld
        mov     [drive], dl             ; all jumps are relative, so CS may be anything
        cmp     byte [bytes_per_sector + 1], 2
        jne     bad
        mov     ah, 41h                 ; are there the extensions, with AH=42h?
        mov     bx, 55AAh
        int     13h
        jc      bad
        cmp     bx, 0AA55h
        jne     bad

        movzx   eax, word [reserved_sectors]
        add     eax, [hidden_sectors]
        mov     [table], eax
        movzx   cx, byte [number_of_fats]
.data:  add     eax, [sectors_per_fat]
        loop    .data
        mov     [data], eax

        mov     esi, [root_cluster]
        xor     bp, bp
.root:  mov     ax, ENTRIES / 16
        call    next_sector
        jc      missing
        mov     bx, ENTRIES
.entry: cmp     byte [bx], 0            ; the end of the directory
        je      missing
        test    byte [bx + 11], 18h     ; volume label, directory, part of a long name
        jnz     .skip
        push    si
        mov     si, name
        mov     di, bx
        mov     cx, NAME_SIZE
        repe cmpsb
        pop     si
        je      found
.skip:  add     bx, 32
        cmp     bx, ENTRIES + 512
        jb      .entry
        jmp     .root

found:  push    word [bx + 20]          ; first cluster, high word
        push    word [bx + 26]
        pop     esi
        xor     bp, bp
        mov     edi, [bx + 28]          ; bytes
        movzx   eax, word [413h]        ; memory ends where the BIOS says
        sub     ax, TARGET / 64
        shl     eax, 10
        cmp     edi, eax
        ja      bad
        add     edi, 511
        shr     edi, 9                  ; sectors
        jz      bad
        mov     ax, TARGET
.next:  call    next_sector
        jc      bad
        add     ax, 512 / 16
        dec     di
        jnz     .next

        xor     ax, ax
        mov     es, ax
        mov     dl, [drive]
        jmp     TARGET:0

missing:
        mov     si, is_missing
        jmp     die
bad:    mov     si, is_bad
die:    lodsb                           ; prints the text at SI and lets the user restart
        test    al, al
        jz      .wait
        mov     ah, 0Eh
        mov     bx, 7
        int     10h
        jmp     die
.wait:  hlt
        jmp     .wait

; next_sector reads sector BP of cluster ESI to AX:0 and steps on; after the last sector of a cluster it goes on in the next one of
; the chain. CF = the chain has ended. It keeps AX, BX and EDI.
next_sector:
        movzx   ecx, byte [sectors_per_cluster]
        cmp     bp, cx
        jb      .within
        mov     bp, si
        and     bp, 127
        shl     bp, 2
        shr     esi, 7
        add     esi, [table]
        push    ax
        mov     ax, TABLE / 16
        call    read
        pop     ax
        mov     esi, [bp + TABLE]
        and     esi, 0FFFFFFFh
        xor     bp, bp
.within:
        push    esi
        push    eax
        lea     eax, [esi - 2]
        cmp     eax, 0FFFFFF7h - 2      ; a bad cluster; above it the end, and, after the subtraction, 0 and 1
        cmc
        jc      .end
        mul     ecx
        movzx   esi, bp
        add     esi, eax
        add     esi, [data]
        inc     bp
        pop     eax
        push    eax
        call    read
        clc
.end:   pop     eax
        pop     esi
        ret

; read reads sector ESI of the disk to AX:0.
read:   push    di
        mov     di, 5
.try:   pushad
        push    dword 0                 ; what AH=42h reads, and where to: number of the sector,
        push    esi
        push    ax                      ; segment, offset, sectors, size of all this
        push    0
        push    1
        push    16
        mov     si, sp
        mov     ah, 42h
        mov     dl, [drive]
        int     13h
        lea     sp, [esp + 16]          ; CF stays
        popad
        jnc     .end
        pusha
        mov     ah, 0                   ; reset the drive
        mov     dl, [drive]
        int     13h
        popa
        dec     di
        jnz     .try
        jmp     bad
.end:   pop     di
        ret

name            db "BOOTMGR    "
is_missing      db "BOOTMGR is missing", 0
is_bad          db "Disk error", 0

        times   1FEh - ($ - $$) db 0
        dw      0AA55h

        absolute 8200h

table   resd 1                          ; first sector of the first file allocation table
data    resd 1                          ; and of cluster 2
