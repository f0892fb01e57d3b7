; An EFI application for x64, headers and all: tells over COM1 from which partition it was started, and ends the virtual machine.
; Sources: UEFI Specification 2.10; Microsoft, PE Format.

        bits    64
        org     0

PAGE    equ     1000h                   ; section alignment
FILE    equ     200h                    ; file alignment

        db      "MZ"
        times   3Ch - ($ - $$) db 0
        dd      pe
pe:     db      "PE", 0, 0
        dw      8664h                   ; machine: x64
        dw      1                       ; sections
        dd      0, 0, 0
        dw      optional_end - optional
        dw      22h                     ; executable, knows addresses above 2 GiB
optional:
        dw      20Bh                    ; PE32+
        db      0, 0
        dd      CODE_SIZE, 0, 0         ; sizes of code, data, zeroed data
        dd      PAGE                    ; entry point
        dd      PAGE                    ; start of code
        dq      0                       ; image base: any, nothing in here depends on it
        dd      PAGE, FILE
        dw      0, 0, 0, 0, 0, 0
        dd      0
        dd      2 * PAGE                ; size of the image
        dd      FILE                    ; size of the headers
        dd      0
        dw      10                      ; subsystem: EFI application
        dw      0
        dq      0, 0, 0, 0
        dd      0
        dd      6                       ; directories, all empty
        times   6 dq 0
optional_end:
        db      ".text", 0, 0, 0
        dd      CODE_SIZE, PAGE, CODE_SIZE, FILE, 0, 0
        dw      0, 0
        dd      0E0000020h              ; code; execute, read, write
        times   FILE - ($ - $$) db 0

; Entry: RCX = image handle, RDX = system table.
entry:  sub     rsp, 28h                ; what the calling convention wants for calls
        mov     rbx, rcx
        mov     rsi, [rdx + 60h]        ; boot services
        mov     rcx, [rdx + 40h]        ; console
        lea     rdx, [rel hello]
        call    [rcx + 8]               ; OutputString

        mov     rcx, rbx
        lea     rdx, [rel loaded_image]
        lea     r8, [rel interface]
        call    [rsi + 98h]             ; HandleProtocol
        test    rax, rax
        jnz     failed
        mov     rcx, [rel interface]
        mov     rcx, [rcx + 18h]        ; the device that it was loaded from
        lea     rdx, [rel device_path]
        lea     r8, [rel interface]
        call    [rsi + 98h]
        test    rax, rax
        jnz     failed

        mov     rsi, [rel interface]    ; nodes: type, subtype, u16 length
.node:  cmp     byte [rsi], 7Fh         ; the end
        je      failed
        cmp     word [rsi], 0104h       ; media, hard drive
        je      .found
        movzx   eax, word [rsi + 2]
        add     rsi, rax
        jmp     .node
.found: lea     rdi, [rel t_part]
        mov     eax, [rsi + 4]
        call    field
        lea     rdi, [rel t_start]
        mov     rax, [rsi + 8]
        call    field
        lea     rdi, [rel t_size]
        mov     rax, [rsi + 16]
        call    field
        lea     rdi, [rel t_guid]
        mov     rax, [rsi + 24]
        bswap   rax
        call    field
        lea     rdi, [rel t_more]
        mov     rax, [rsi + 32]
        bswap   rax
        call    field
        lea     rdi, [rel t_end]
        call    print
exit:   mov     al, 21h
        out     0F4h, al
        hlt
failed: lea     rdi, [rel t_failed]
        call    print
        jmp     exit

field:  call    print                   ; prints the name RDI and RAX
        mov     rbp, rax
        mov     ecx, 16
.digit: rol     rbp, 4
        mov     al, bpl
        and     al, 15
        add     al, '0'
        cmp     al, '9'
        jbe     .put
        add     al, 'a' - '0' - 10
.put:   call    put
        loop    .digit
        ret

print:  push    rax
.next:  mov     al, [rdi]
        inc     rdi
        test    al, al
        jz      .end
        call    put
        jmp     .next
.end:   pop     rax
        ret

put:    mov     ah, al
        mov     dx, 3FDh
.wait:  in      al, dx
        test    al, 20h
        jz      .wait
        mov     al, ah
        mov     dx, 3F8h
        out     dx, al
        ret

        align   8
loaded_image:   dd 5B1B31A1h
                dw 9562h, 11D2h
                db 8Eh, 3Fh, 00h, 0A0h, 0C9h, 69h, 72h, 3Bh
device_path:    dd 09576E91h
                dw 6D3Fh, 11D2h
                db 8Eh, 39h, 00h, 0A0h, 0C9h, 69h, 72h, 3Bh
interface:      dq 0
hello:          dw __utf16__("application started"), 13, 10, 0
t_part          db 13, 10, "uefi: partition=", 0
t_start         db " start=", 0
t_size          db " size=", 0
t_guid          db " id=", 0
t_more          db " ", 0
t_end           db " end", 13, 10, 0
t_failed        db 13, 10, "uefi: failed", 13, 10, 0
        times   1200h - ($ - $$) db 0
CODE_SIZE       equ 1200h - FILE
