; Boot sector of an NTFS volume and the 15 sectors after it ($Boot): finds \bootmgr, loads it and starts it.
;
; Entry, from the master boot record: this sector is at 0000:7C00, DL is the drive. The fields of the boot sector say where the volume
; is (hidden sectors) and where its $MFT begins.
;
; Hand-over, as bootmgr expects it: the file is at linear 20000h, CS:IP = 2000:0000, DL = drive, sector 0 of the volume is still at
; 0000:7C00 with its fields as on the disk, SS:SP = 0000:7C00, the other registers are 0.
;
; The way there: $MFT's runs from record 0, the root directory's index from record 5 down its tree to BOOTMGR, that file's runs, its
; contents. $MFT, index and file may be fragmented and their attributes spread over several records by attribute lists. Clusters have
; 512 bytes to 2 MiB, records up to 4 KiB, index blocks up to 32 KiB. The file must be plain: neither compressed, encrypted nor sparse.
;
; Nothing read is believed: fixups are checked, offsets stay within their record, and every walk ends.
;
; Source of the format: the tables of package ntfs.
;
; Memory, linear:
;
;       07C00   sector 0, then the rest of this code
;       09C00   variables
;       0A000   record of the file that is looked at    4 KiB
;       0B000   one of its extension records            4 KiB
;       0C000   runs of the file                        16 KiB, 8 bytes each: cluster, number of clusters
;       10000   runs of $MFT                            64 KiB
;       20000   index block, later the file             32 KiB
;       30000   attribute list                          64 KiB

        bits    16
        cpu     386
        org     7C00h

; Fields of the boot sector.
bytes_per_sector        equ 7C0Bh
sectors_per_cluster     equ 7C0Dh
hidden_sectors          equ 7C1Ch
mft_cluster             equ 7C30h
record_code             equ 7C40h
index_code              equ 7C44h

; Segments of the buffers.
RECORD          equ 0A00h
EXTENSION       equ 0B00h
FILE_RUNS       equ 0C00h
MFT_RUNS        equ 1000h
BLOCK           equ 2000h
LIST            equ 3000h
TARGET          equ 2000h

; Attribute types.
LIST_TYPE       equ 20h
DATA            equ 80h
INDEX_ROOT      equ 90h
INDEX_BLOCKS    equ 0A0h

; A table of runs, as BP points to it: segment, bytes in use, bytes that there is room for.
struc runs
.segment        resw 1
.end            resw 1
.room           resw 1
endstruc

        jmp     short start
        nop
        times   54h - ($ - $$) db 0

start:  cli
        xor     ax, ax
        mov     ss, ax
        mov     sp, 7C00h
        mov     ds, ax
        mov     es, ax
        sti
        cld
        jmp     0:.at_zero
.at_zero:
        mov     [drive], dl

        mov     ah, 41h                 ; are there the extensions, with AH=42h?
        mov     bx, 55AAh
        int     13h
        mov     si, no_lba
        jc      die
        cmp     bx, 0AA55h
        jne     die
        test    cl, 1
        jz      die
        mov     si, no_sectors
        cmp     word [bytes_per_sector], 512
        jne     die

        mov     eax, 1                  ; the rest of $Boot
        xor     edx, edx
        mov     ecx, 15
        mov     edi, 7E00h
        call    read_sectors
        mov     si, not_here
        cmp     dword [second], 'HUSK'
        jne     die
        jmp     main

; read_sectors reads ECX sectors of the volume, from sector EDX:EAX on, to the linear address EDI, a multiple of 512.
read_sectors:
        pushad
        add     eax, [hidden_sectors]
        adc     edx, 0
        mov     [packet.lba], eax
        mov     [packet.lba + 4], edx
.more:  mov     eax, edi
        shr     eax, 4
        mov     [packet.segment], ax
        movzx   ebx, di                 ; not across 64 KiB, which old controllers cannot
        mov     eax, 10000h
        sub     eax, ebx
        shr     eax, 9
        cmp     eax, 64
        jbe     .left
        mov     al, 64
.left:  cmp     eax, ecx
        jbe     .count
        mov     eax, ecx
.count: mov     bp, 5
.try:   mov     [packet.count], ax      ; the BIOS changes it when it fails
        mov     ah, 42h
        mov     dl, [drive]
        mov     si, packet
        pushad
        int     13h
        popad
        mov     ah, 0
        jnc     .done
        pushad                          ; AH = 0: reset the drive
        int     13h
        popad
        dec     bp
        jnz     .try
        mov     si, no_read
        jmp     die
.done:  add     [packet.lba], eax
        adc     dword [packet.lba + 4], 0
        sub     ecx, eax
        shl     eax, 9
        add     edi, eax
        test    ecx, ecx
        jnz     .more
        popad
        ret

; die prints the text at SI and lets the user restart.
die:    call    print
        mov     si, restart
        call    print
.wait:  sti
        hlt
        jmp     .wait

print:  cs lodsb
        test    al, al
        jz      .end
        mov     ah, 0Eh
        mov     bx, 7
        push    si
        int     10h
        pop     si
        jmp     print
.end:   ret

no_lba          db "The BIOS does not know sector numbers", 0
no_sectors      db "Sectors are not of 512 bytes", 0
no_read         db "Disk read error", 0
not_here        db "Wrong hidden sectors", 0
restart         db 13, 10, "Press Ctrl+Alt+Del to restart", 13, 10, 0

        align   4, db 0
packet:         db 16, 0                ; what AH=42h reads, and where to
.count          dw 0
                dw 0
.segment        dw 0
.lba            dq 0

        times   1FEh - ($ - $$) db 0
        dw      0AA55h

; --- from here on loaded by the sector above

second  db      'HUSK'

main:   call    geometry

        ; The place of $MFT's first cluster is enough to read its own record.
        mov     bp, mft
        mov     eax, [mft_cluster]
        mov     [fs:0], eax
        mov     dword [fs:4], 8
        mov     word [bp + runs.end], 8
        xor     eax, eax
        mov     ecx, DATA
        mov     si, unnamed
        call    gather
        jc      damaged
        cmp     byte [resident], 0
        jne     damaged

        call    find_bootmgr
        call    load_bootmgr

        xor     eax, eax
        mov     ds, ax
        mov     es, ax
        mov     fs, ax
        mov     gs, ax
        movzx   edx, byte [drive]
        mov     sp, 7C00h
        xor     ebx, ebx
        xor     ecx, ecx
        xor     esi, esi
        xor     edi, edi
        xor     ebp, ebp
        jmp     TARGET:0

missing:
        mov     si, is_missing
        jmp     die
damaged:
        mov     si, is_damaged
        jmp     die

; geometry decodes the sizes of the boot sector into sectors, and points FS to the runs of $MFT.
geometry:
        movzx   eax, byte [sectors_per_cluster]
        cmp     al, 80h
        jbe     .cluster
        neg     al                      ; above 80h: 2^(256-n)
        mov     cl, al
        mov     eax, 1
        shl     eax, cl
.cluster:
        test    eax, eax
        jz      damaged
        mov     [cluster_sectors], eax

        mov     al, [record_code]
        call    unit
        cmp     eax, 8                  ; 4 KiB
        ja      damaged
        mov     [record_sectors], eax
        mov     al, [index_code]
        call    unit
        cmp     eax, 64                 ; 32 KiB
        ja      damaged
        mov     [index_sectors], eax

        mov     ebx, 1                  ; what one VCN of an index counts: clusters, or sectors where clusters are larger than blocks
        cmp     [cluster_sectors], eax
        ja      .vcn
        mov     ebx, [cluster_sectors]
.vcn:   mov     [vcn_sectors], ebx

        mov     ax, MFT_RUNS
        mov     fs, ax
        mov     word [mft + runs.segment], ax
        mov     word [mft + runs.room], 0FFF8h
        mov     word [file + runs.segment], FILE_RUNS
        mov     word [file + runs.room], 4000h
        ret

; unit decodes a size in AL: clusters, or, if negative, the logarithm of the bytes. EAX = sectors, not 0.
unit:   movsx   eax, al
        test    eax, eax
        js      .power
        mul     dword [cluster_sectors]
        test    eax, eax
        jz      damaged
        ret
.power: neg     al
        sub     al, 9
        jb      damaged
        mov     cl, al
        cmp     cl, 16
        ja      damaged
        mov     eax, 1
        shl     eax, cl
        ret

; --- streams

; read_stream reads ECX sectors, from sector EAX of the stream on whose runs BP points to, to the linear address EDI.
read_stream:
        pushad
        mov     fs, [bp + runs.segment]
        mov     [left], ecx
        xor     si, si
.run:   cmp     si, [bp + runs.end]
        jae     damaged                 ; the stream is shorter than that
        push    eax
        mov     eax, [fs:si + 4]
        mul     dword [cluster_sectors]
        test    edx, edx
        jz      .fits
        mov     eax, -1
.fits:  mov     ebx, eax                ; sectors of the run
        pop     eax
        cmp     eax, ebx
        jb      .within
        sub     eax, ebx
        add     si, 8
        jmp     .run
.within:
        sub     ebx, eax                ; and those from here to its end
        cmp     ebx, [left]
        jbe     .read
        mov     ebx, [left]
.read:  mov     ecx, eax
        mov     eax, [fs:si]
        cmp     eax, -1                 ; a hole
        je      damaged
        mul     dword [cluster_sectors]
        add     eax, ecx
        adc     edx, 0
        mov     ecx, ebx
        call    read_sectors
        sub     [left], ebx
        jz      .done
        shl     ebx, 9
        add     edi, ebx
        xor     eax, eax
        add     si, 8
        jmp     .run
.done:  popad
        ret

; fixup checks the block at ES:0, ECX sectors with the magic EAX, and restores the last words of its sectors.
fixup:  pushad
        cmp     [es:0], eax
        jne     damaged
        mov     bx, [es:4]              ; update sequence array: one number, then a word for each sector
        mov     ax, [es:6]
        dec     ax
        cmp     ax, cx
        jne     damaged
        add     ax, ax
        add     ax, bx
        jc      damaged
        cmp     ax, 510 - 2
        ja      damaged
        mov     dx, [es:bx]
        mov     di, 510
.word:  add     bx, 2
        cmp     [es:di], dx
        jne     damaged                 ; a torn write
        mov     ax, [es:bx]
        mov     [es:di], ax
        add     di, 512
        loop    .word
        popad
        ret

; read_record reads MFT record EAX to the segment ES.
read_record:
        pushad
        mul     dword [record_sectors]
        test    edx, edx
        jnz     damaged
        mov     ecx, [record_sectors]
        xor     edi, edi
        mov     di, es
        shl     edi, 4
        mov     bp, mft
        call    read_stream
        mov     eax, 'FILE'
        call    fixup
        test    byte [es:16h], 1        ; in use
        jz      damaged
        popad
        ret

; --- attributes

; same_name compares the name at DS:SI, a length and letters, with DL UTF-16 units at GS:DI. ZF = equal.
same_name:
        pusha
        lodsb
        cmp     al, dl
        jne     .end
        movzx   cx, al
        jcxz    .end
        mov     ah, 0
.unit:  lodsb
        cmp     [gs:di], ax
        jne     .end
        lea     di, [di + 2]            ; the flags stay
        loop    .unit
.end:   popa
        ret

; find_attribute looks in the record ES:0 for the attribute of type ECX with the name SI whose lowest VCN is EDX, which counts only where
; the value is not resident. ES:BX = attribute; CF = there is none.
find_attribute:
        push    eax
        push    edi
        push    edx
        push    gs
        mov     ax, es
        mov     gs, ax
        mov     di, [record_sectors]
        shl     di, 9                   ; end of the record
        mov     bx, [es:14h]
.next:  lea     ax, [bx + 18h]
        cmp     ax, 18h
        jb      damaged
        cmp     ax, di
        ja      .none
        cmp     dword [es:bx], -1
        je      .none
        movzx   eax, di                 ; its length: at least a header, at most the rest of the record
        sub     ax, bx
        cmp     [es:bx + 4], eax
        ja      damaged
        cmp     dword [es:bx + 4], 18h
        jb      damaged
        cmp     [es:bx], ecx
        jne     .other
        push    di
        push    dx
        mov     dl, [es:bx + 9]
        mov     di, [es:bx + 0Ah]
        add     di, bx
        call    same_name
        pop     dx
        pop     di
        jne     .other
        cmp     byte [es:bx + 8], 0
        je      .found
        cmp     [es:bx + 10h], edx
        je      .found
.other: add     bx, [es:bx + 4]
        jmp     .next
.none:  stc
        jmp     .end
.found: clc
.end:   pop     gs
        pop     edx
        pop     edi
        pop     eax
        ret

; decode_runs appends the runs of the attribute ES:BX to the table at BP. It adds their clusters to [next_vcn].
decode_runs:
        pushad
        mov     fs, [bp + runs.segment]
        cmp     dword [es:bx + 4], 40h
        jb      damaged
        mov     ax, [es:bx + 4]
        add     ax, bx
        mov     [runs_end], ax
        mov     si, [es:bx + 20h]
        add     si, bx
        jc      damaged
        mov     di, [bp + runs.end]
        xor     edx, edx                ; cluster
.pair:  cmp     si, [runs_end]
        jae     damaged
        es lodsb
        test    al, al
        jz      .done
        mov     ch, al                  ; high nibble: bytes of the distance, low nibble: bytes of the length
        shr     ch, 4
        mov     cl, al
        and     cl, 15
        jz      damaged
        call    .number
        cmp     di, [bp + runs.room]
        jae     too_fragmented
        mov     [fs:di + 4], eax
        add     [next_vcn], eax
        jc      damaged
        mov     eax, -1                 ; no distance: a hole
        mov     cl, ch
        test    cl, cl
        jz      .put
        call    .number
        add     edx, eax
        mov     eax, edx
.put:   mov     [fs:di], eax
        add     di, 8
        jmp     .pair
.done:  mov     [bp + runs.end], di
        popad
        ret
.number:                                ; EAX = signed number of CL bytes at ES:SI, of which the low 32 bits count
        push    di
        movzx   ax, cl
        add     si, ax
        cmp     si, [runs_end]
        ja      damaged
        lea     di, [si - 1]
        movsx   eax, byte [es:di]
.byte:  dec     cl
        jz      .end
        dec     di
        shl     eax, 8
        mov     al, [es:di]
        jmp     .byte
.end:   pop     di
        ret

too_fragmented:
        mov     si, is_fragmented
        jmp     die

; gather looks for the attribute of type ECX with the name SI of file EAX, in all records of the file. CF = there is none. If [resident],
; ES:BX is the attribute; else the table at BP has its runs, and [size], [initialized] and [flags] are those of the attribute.
gather: mov     [base], eax
        mov     [wanted], ecx
        mov     [wanted_name], si
        mov     dx, RECORD
        mov     es, dx
        call    read_record
        mov     ecx, LIST_TYPE
        mov     si, unnamed
        xor     edx, edx
        call    find_attribute
        mov     ecx, [wanted]
        mov     si, [wanted_name]
        jnc     .list
        mov     word [bp + runs.end], 0
        call    find_attribute
        jc      .end
        call    take
        clc
.end:   ret

.list:  call    read_list
        mov     word [bp + runs.end], 0
        mov     byte [found], 0
        mov     dword [next_vcn], 0
        mov     ax, LIST
        mov     gs, ax
        xor     di, di
.entry: mov     ax, [list_size]         ; entries end with the list, where a header no longer fits
        sub     ax, di
        jb      .last
        cmp     ax, 1Ah
        jb      .last
        cmp     [gs:di + 4], ax
        ja      damaged
        cmp     word [gs:di + 4], 18h
        jb      damaged
        cmp     [gs:di], ecx
        jne     .skip
        push    di
        mov     dl, [gs:di + 6]
        movzx   ax, byte [gs:di + 7]
        add     di, ax
        call    same_name
        pop     di
        jne     .skip
        mov     edx, [gs:di + 8]
        mov     eax, [gs:di + 10h]
        mov     bx, RECORD
        cmp     eax, [base]
        je      .have
        mov     bx, EXTENSION
        mov     es, bx
        call    read_record
        mov     ebx, [base]             ; it must be of this file
        cmp     [es:20h], ebx
        jne     damaged
        mov     bx, EXTENSION
.have:  mov     es, bx
        call    find_attribute
        jc      damaged
        mov     byte [found], 1
        call    take
        cmp     byte [resident], 0
        jne     .resident
.skip:  add     di, [gs:di + 4]
        jmp     .entry
.last:  cmp     byte [found], 1         ; CF if it is 0
        ret
.resident:
        clc
        ret

; take notes what the attribute ES:BX says of itself and appends its runs, the next ones of the stream, to the table at BP.
take:   push    eax
        mov     ax, [es:bx + 0Ch]
        mov     [flags], ax
        mov     byte [resident], 1
        cmp     byte [es:bx + 8], 0
        je      .end
        mov     byte [resident], 0
        mov     eax, [es:bx + 10h]
        test    eax, eax
        jnz     .more
        mov     [next_vcn], eax
        mov     eax, [es:bx + 30h]
        mov     [size], eax
        mov     eax, [es:bx + 34h]
        mov     [size + 4], eax
        mov     eax, [es:bx + 38h]
        mov     [initialized], eax
        xor     eax, eax
.more:  cmp     eax, [next_vcn]
        jne     damaged                 ; a part is missing
        call    decode_runs
.end:   pop     eax
        ret

; read_list reads the value of the attribute list ES:BX to LIST:0. [list_size] = its bytes. It uses the runs of the file.
read_list:
        pushad
        cmp     byte [es:bx + 8], 0
        je      .resident
        mov     bp, file
        mov     word [bp + runs.end], 0
        mov     dword [next_vcn], 0
        call    decode_runs
        mov     ecx, [es:bx + 30h]
        cmp     dword [es:bx + 34h], 0
        jne     too_fragmented
        cmp     ecx, 0FE00h
        ja      too_fragmented
        mov     [list_size], cx
        add     ecx, 511
        shr     ecx, 9
        jz      damaged
        xor     eax, eax
        mov     edi, LIST * 16
        call    read_stream
        popad
        ret
.resident:
        mov     ax, LIST
        call    copy_value
        mov     [list_size], cx
        popad
        ret

; copy_value copies the value of the resident attribute ES:BX to AX:0. CX = its bytes.
copy_value:
        push    si
        push    di
        push    ds
        push    es
        mov     ecx, [es:bx + 10h]
        movzx   esi, word [es:bx + 14h]
        lea     edx, [esi + ecx]
        cmp     ecx, 10000h
        jae     damaged
        cmp     edx, [es:bx + 4]
        ja      damaged
        add     si, bx
        push    es
        pop     ds
        mov     es, ax
        xor     di, di
        push    cx
        rep movsb
        pop     cx
        pop     es
        pop     ds
        pop     di
        pop     si
        ret

; --- \bootmgr

; find_bootmgr walks down the index of the root directory. EAX = record of the file, DX = sequence number.
find_bootmgr:
        mov     eax, 5
        mov     ecx, INDEX_ROOT
        mov     si, i30
        mov     bp, file
        call    gather
        jc      damaged
        cmp     byte [resident], 0
        je      damaged
        add     bx, [es:bx + 14h]
        add     bx, 10h                 ; header of the node
        call    search
        jnc     .found
        push    eax
        mov     eax, 5
        mov     ecx, INDEX_BLOCKS
        mov     si, i30
        call    gather
        pop     eax
        jc      damaged
        cmp     byte [resident], 0
        jne     damaged
        mov     byte [depth], 20
.down:  dec     byte [depth]
        jz      damaged
        mul     dword [vcn_sectors]
        test    edx, edx
        jnz     damaged
        mov     ecx, [index_sectors]
        mov     edi, BLOCK * 16
        call    read_stream
        mov     bx, BLOCK
        mov     es, bx
        mov     eax, 'INDX'
        call    fixup
        mov     bx, 18h
        call    search
        jc      .down
.found: ret

; search looks for BOOTMGR in the index node whose header is ES:BX. EAX = record, DX = sequence number; or, if CF, EAX = VCN of the child
; that may have it. Entries are in the order of their names in capitals.
search: mov     di, bx
        add     di, [es:bx]
        mov     bp, bx
        add     bp, [es:bx + 4]         ; end of the entries
        cmp     bp, 8000h
        ja      damaged
        cmp     dword [es:bx + 4], 8000h
        ja      damaged
.entry: lea     ax, [di + 10h]
        cmp     ax, bp
        ja      damaged
        cmp     di, bx
        jbe     damaged
        mov     cx, [es:di + 8]         ; length
        cmp     cx, 10h
        jb      damaged
        test    byte [es:di + 0Ch], 2   ; the last entry, without a name
        jnz     .child
        cmp     cx, 52h
        jb      damaged
        call    compare
        je      .found
        ja      .child
        add     di, cx
        jc      damaged
        jmp     .entry
.child: test    byte [es:di + 0Ch], 1
        jz      missing
        add     di, cx
        jc      damaged
        cmp     di, bp
        ja      damaged
        mov     eax, [es:di - 8]
        mov     bp, file
        stc
        ret
.found: mov     eax, [es:di]
        mov     dx, [es:di + 6]
        clc
        ret

; compare compares the name of the entry ES:DI with BOOTMGR: ZF, or CF if the entry's is less.
compare:
        pusha
        movzx   dx, byte [es:di + 50h]
        add     di, 52h
        mov     si, bootmgr
        mov     cx, 7
.unit:  sub     dx, 1
        jc      .end                    ; it has ended: it is less
        mov     ax, [es:di]
        cmp     ax, 'a'
        jb      .capital
        cmp     ax, 'z'
        ja      .capital
        sub     ax, 'a' - 'A'
.capital:
        movzx   bx, byte [si]
        cmp     ax, bx
        jne     .end
        add     di, 2
        inc     si
        loop    .unit
        cmp     dx, 0                   ; above, if there is more
.end:   popa
        ret

; load_bootmgr loads file EAX, which has the sequence number DX, to TARGET:0.
load_bootmgr:
        push    dx
        mov     ecx, DATA
        mov     si, unnamed
        mov     bp, file
        call    gather
        pop     dx
        jc      missing                 ; a directory, for one
        mov     cx, RECORD
        mov     gs, cx
        cmp     [gs:10h], dx
        jne     damaged
        mov     si, is_compressed
        test    word [flags], 0C0FFh
        jnz     die

        mov     si, is_large            ; memory ends where the BIOS says
        movzx   ecx, word [413h]
        shl     ecx, 10
        sub     ecx, TARGET * 16
        jbe     die
        cmp     byte [resident], 0
        je      .runs
        mov     ax, TARGET
        call    copy_value
        test    cx, cx
        jz      damaged
        ret

.runs:  cmp     dword [size + 4], 0
        jne     die
        mov     ebx, [size]
        test    ebx, ebx
        jz      damaged
        cmp     ebx, ecx
        ja      die
        mov     ecx, [initialized]      ; what follows that much is zeros
        cmp     ecx, ebx
        jbe     .read
        mov     ecx, ebx
.read:  mov     edi, TARGET * 16
        push    ecx
        add     ecx, 511
        shr     ecx, 9
        jz      .zeros
        xor     eax, eax
        call    read_stream
.zeros: pop     ecx
        cmp     ecx, ebx
        jae     .end
        lea     eax, [ecx + TARGET * 16]
        mov     di, ax
        and     di, 15
        shr     eax, 4
        mov     es, ax
        mov     byte [es:di], 0
        inc     ecx
        push    ecx
        jmp     .zeros
.end:   ret

unnamed         db 0
i30             db 4, "$I30"
bootmgr         db "BOOTMGR"
is_missing      db "BOOTMGR is missing", 0
is_compressed   db "BOOTMGR is compressed, encrypted or sparse", 0
is_fragmented   db "BOOTMGR is too fragmented", 0
is_large        db "BOOTMGR is too large", 0
is_damaged      db "The file system is damaged", 0

        times   2000h - ($ - $$) db 0

        absolute 9C00h

drive           resb 1
resident        resb 1
found           resb 1
depth           resb 1
flags           resw 1
wanted_name     resw 1
list_size       resw 1
runs_end        resw 1
cluster_sectors resd 1
record_sectors  resd 1
index_sectors   resd 1
vcn_sectors     resd 1
left            resd 1
base            resd 1
wanted          resd 1
next_vcn        resd 1
size            resq 1
initialized     resd 1
mft             resb runs_size
file            resb runs_size
