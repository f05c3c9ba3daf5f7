//go:build !purego

#include "textflag.h"

// The round constants of SHA-256: FIPS 180-4, 4.2.2.
DATA k<>+0x00(SB)/8, $0x71374491428a2f98
DATA k<>+0x08(SB)/8, $0xe9b5dba5b5c0fbcf
DATA k<>+0x10(SB)/8, $0x59f111f13956c25b
DATA k<>+0x18(SB)/8, $0xab1c5ed5923f82a4
DATA k<>+0x20(SB)/8, $0x12835b01d807aa98
DATA k<>+0x28(SB)/8, $0x550c7dc3243185be
DATA k<>+0x30(SB)/8, $0x80deb1fe72be5d74
DATA k<>+0x38(SB)/8, $0xc19bf1749bdc06a7
DATA k<>+0x40(SB)/8, $0xefbe4786e49b69c1
DATA k<>+0x48(SB)/8, $0x240ca1cc0fc19dc6
DATA k<>+0x50(SB)/8, $0x4a7484aa2de92c6f
DATA k<>+0x58(SB)/8, $0x76f988da5cb0a9dc
DATA k<>+0x60(SB)/8, $0xa831c66d983e5152
DATA k<>+0x68(SB)/8, $0xbf597fc7b00327c8
DATA k<>+0x70(SB)/8, $0xd5a79147c6e00bf3
DATA k<>+0x78(SB)/8, $0x1429296706ca6351
DATA k<>+0x80(SB)/8, $0x2e1b213827b70a85
DATA k<>+0x88(SB)/8, $0x53380d134d2c6dfc
DATA k<>+0x90(SB)/8, $0x766a0abb650a7354
DATA k<>+0x98(SB)/8, $0x92722c8581c2c92e
DATA k<>+0xa0(SB)/8, $0xa81a664ba2bfe8a1
DATA k<>+0xa8(SB)/8, $0xc76c51a3c24b8b70
DATA k<>+0xb0(SB)/8, $0xd6990624d192e819
DATA k<>+0xb8(SB)/8, $0x106aa070f40e3585
DATA k<>+0xc0(SB)/8, $0x1e376c0819a4c116
DATA k<>+0xc8(SB)/8, $0x34b0bcb52748774c
DATA k<>+0xd0(SB)/8, $0x4ed8aa4a391c0cb3
DATA k<>+0xd8(SB)/8, $0x682e6ff35b9cca4f
DATA k<>+0xe0(SB)/8, $0x78a5636f748f82ee
DATA k<>+0xe8(SB)/8, $0x8cc7020884c87814
DATA k<>+0xf0(SB)/8, $0xa4506ceb90befffa
DATA k<>+0xf8(SB)/8, $0xc67178f2bef9a3f7
GLOBL k<>(SB), RODATA|NOPTR, $256

// flip makes words of big-endian bytes.
DATA flip<>+0x00(SB)/8, $0x0405060700010203
DATA flip<>+0x08(SB)/8, $0x0c0d0e0f08090a0b
GLOBL flip<>(SB), RODATA|NOPTR, $16

// X0 is what four rounds use; X1 and X2 are one state, as ABEF and CDGH, X11 and X12 the other;
// X3 to X6 are the last sixteen words of the message, X7 is for a moment, X8 is flip.

// ROUNDS does four rounds of both states with the words of m.
#define ROUNDS(m, at) \
	MOVOA       m, X0;         \
	PADDD       at(AX), X0;    \
	SHA256RNDS2 X0, X1, X2;    \
	SHA256RNDS2 X0, X11, X12;  \
	PSHUFD      $0x0e, X0, X0; \
	SHA256RNDS2 X0, X2, X1;    \
	SHA256RNDS2 X0, X12, X11

// LOAD reads four words.
#define LOAD(m, at) \
	MOVOU  at(SI), m; \
	PSHUFB X8, m

// WORDS finishes the four words behind m, which are begun in next.
#define WORDS(before, m, next) \
	MOVOA      m, X7;          \
	PALIGNR    $4, before, X7; \
	PADDD      X7, next;       \
	SHA256MSG2 m, next

// STATE loads a state: abcd and efgh become ABEF and CDGH, the highest word first.
#define STATE(from, abef, cdgh) \
	MOVOU   (from), abef;       \
	MOVOU   16(from), cdgh;     \
	PSHUFD  $0xb1, abef, abef;  \
	PSHUFD  $0x1b, cdgh, cdgh;  \
	MOVOA   abef, X7;           \
	PALIGNR $8, cdgh, abef;     \
	PBLENDW $0xf0, X7, cdgh

// STORE is the opposite.
#define STORE(abef, cdgh, to) \
	PSHUFD  $0x1b, abef, abef;  \
	PSHUFD  $0xb1, cdgh, cdgh;  \
	MOVOA   abef, X7;           \
	PBLENDW $0xf0, cdgh, abef;  \
	PALIGNR $8, X7, cdgh;       \
	MOVOU   abef, (to);         \
	MOVOU   cdgh, 16(to)

// func blocks(a, b *[8]uint32, p []byte)
TEXT ·blocks(SB), NOSPLIT, $0-40
	MOVQ a+0(FP), DI
	MOVQ b+8(FP), R8
	MOVQ p_base+16(FP), SI
	MOVQ p_len+24(FP), DX
	SHRQ $6, DX
	JEQ  done
	STATE(DI, X1, X2)
	STATE(R8, X11, X12)
	MOVOA flip<>(SB), X8
	LEAQ  k<>(SB), AX

loop:
	MOVOA X1, X9
	MOVOA X2, X10
	MOVOA X11, X13
	MOVOA X12, X14

	LOAD(X3, 0)
	ROUNDS(X3, 0)
	LOAD(X4, 16)
	ROUNDS(X4, 16)
	SHA256MSG1 X4, X3
	LOAD(X5, 32)
	ROUNDS(X5, 32)
	SHA256MSG1 X5, X4
	LOAD(X6, 48)
	WORDS(X5, X6, X3)
	ROUNDS(X6, 48)
	SHA256MSG1 X6, X5

	WORDS(X6, X3, X4)
	ROUNDS(X3, 64)
	SHA256MSG1 X3, X6
	WORDS(X3, X4, X5)
	ROUNDS(X4, 80)
	SHA256MSG1 X4, X3
	WORDS(X4, X5, X6)
	ROUNDS(X5, 96)
	SHA256MSG1 X5, X4
	WORDS(X5, X6, X3)
	ROUNDS(X6, 112)
	SHA256MSG1 X6, X5

	WORDS(X6, X3, X4)
	ROUNDS(X3, 128)
	SHA256MSG1 X3, X6
	WORDS(X3, X4, X5)
	ROUNDS(X4, 144)
	SHA256MSG1 X4, X3
	WORDS(X4, X5, X6)
	ROUNDS(X5, 160)
	SHA256MSG1 X5, X4
	WORDS(X5, X6, X3)
	ROUNDS(X6, 176)
	SHA256MSG1 X6, X5

	WORDS(X6, X3, X4)
	ROUNDS(X3, 192)
	SHA256MSG1 X3, X6
	WORDS(X3, X4, X5)
	ROUNDS(X4, 208)
	WORDS(X4, X5, X6)
	ROUNDS(X5, 224)
	ROUNDS(X6, 240)

	PADDD X9, X1
	PADDD X10, X2
	PADDD X13, X11
	PADDD X14, X12
	ADDQ  $64, SI
	DECQ  DX
	JNE   loop

	STORE(X1, X2, DI)
	STORE(X11, X12, R8)

done:
	RET

// func cpuid(leaf, sub uint32) (a, b, c uint32)
TEXT ·cpuid(SB), NOSPLIT, $0-20
	MOVL leaf+0(FP), AX
	MOVL sub+4(FP), CX
	CPUID
	MOVL AX, a+8(FP)
	MOVL BX, b+12(FP)
	MOVL CX, c+16(FP)
	RET
