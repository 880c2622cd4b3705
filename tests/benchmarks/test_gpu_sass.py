# SPDX-License-Identifier: Apache-2.0
"""Which loop of a listing multiplies, and what it has."""

from __future__ import annotations

from benchmarks.gpu_sass import Loop, loops_in

LISTING = """\
.text.conv_kernel:
        /*0000*/                   IMAD.MOV.U32 R1, RZ, RZ, c[0x0][0x28] ;
.L_x_2:
        /*0010*/                   BAR.SYNC.DEFER_BLOCKING 0x0 ;
        /*0020*/               @!P2 LDGSTS.E.BYPASS.128 [R39], [R12.64], !P0 ;
.L_x_1:
        /*0030*/              @!PT LDS RZ, [RZ] ;
        /*0040*/                   LDS.128 R4, [R8] ;
        /*0050*/                   LDS.64 R10, [R8+0x40] ;
        /*0060*/                   FFMA R0, R4, R10, R0 ;
        /*0070*/                   FFMA R2, R5, R10, R2 ;
        /*0080*/                   FFMA R3, R6, R11, R3 ;
        /*0090*/                   IADD3 R8, R8, 0x80, RZ ;
        /*00a0*/                   ISETP.NE.AND P0, PT, R8, R9, PT ;
        /*00b0*/               @P0 BRA `(.L_x_1) ;
        /*00c0*/               @P1 BRA `(.L_x_2) ;
.L_x_3:
        /*00d0*/                   FFMA R0, R4, R10, R0 ;
        /*00e0*/               @P3 BRA `(.L_x_3) ;
        /*00f0*/                   BRA `(.L_x_4) ;
.L_x_4:
        /*0100*/                   EXIT ;
.text.add_kernel:
        /*0000*/                   FADD R0, R4, R10 ;
        /*0010*/                   EXIT ;
"""


def test_the_innermost_loop_with_most_multiplications_is_the_kernels() -> None:
    kinds = {"loads": 2, "multiplies": 3, "integers": 1, "predicates": 1, "jumps": 1}
    assert loops_in(LISTING) == {"conv_kernel": Loop(8, kinds, narrow=1)}
    assert loops_in(LISTING)["conv_kernel"].share == 3 / 8
