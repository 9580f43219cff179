/* SPDX-License-Identifier: ISC */
/* The memory that a context keeps for its next connections. */
#include "spare.h"
#include "support.h"

enum { SIZE = 64, MANY = 3 * CDT_SPARES_KEPT + 3 };

static bool is_zero(const unsigned char *piece)
{
    unsigned char any = 0;
    for (size_t i = 0; i < SIZE; i++)
        any |= piece[i];
    return any == 0;
}

CDT_TEST(spare, a_piece_that_was_given_back_is_zero_when_it_is_taken_again)
{
    struct cdt_spares spares = {0};
    for (int i = 0; i < 3; i++) {
        unsigned char *piece = cdt_spare_take(&spares, CDT_SPARE_PATH, SIZE);
        cr_assert_not_null(piece);
        cr_expect(is_zero(piece));
        memset(piece, 0xff, SIZE);
        cdt_spare_give(&spares, CDT_SPARE_PATH, piece);
        cr_expect_eq(spares.n[CDT_SPARE_PATH], CDT_SPARES_KEPT > 0 ? 1 : 0);
    }
    cdt_spares_clear(&spares);
}

CDT_TEST(spare, kinds_are_kept_apart)
{
    struct cdt_spares spares = {0};
    void *small = cdt_spare_take(&spares, CDT_SPARE_SOCKET, SIZE);
    cdt_spare_give(&spares, CDT_SPARE_SOCKET, small);
    unsigned char *large = cdt_spare_take(&spares, CDT_SPARE_CONN, 16 * SIZE);
    memset(large, 0xff, 16 * SIZE);
    cdt_spare_give(&spares, CDT_SPARE_CONN, large);
    cr_expect_eq(spares.n[CDT_SPARE_SOCKET], CDT_SPARES_KEPT > 0 ? 1 : 0);
    cdt_spares_clear(&spares);
}

CDT_TEST(spare, no_more_is_kept_than_the_bound)
{
    struct cdt_spares spares = {0};
    void *pieces[MANY];
    for (int i = 0; i < MANY; i++)
        pieces[i] = cdt_spare_take(&spares, CDT_SPARE_CONN, SIZE);
    for (int i = 0; i < MANY; i++)
        cdt_spare_give(&spares, CDT_SPARE_CONN, pieces[i]);
    cr_expect_eq(spares.n[CDT_SPARE_CONN], CDT_SPARES_KEPT);
    cdt_spare_give(&spares, CDT_SPARE_CONN, NULL);
    cr_expect_eq(spares.n[CDT_SPARE_CONN], CDT_SPARES_KEPT);
    cdt_spares_clear(&spares);
    cr_expect_eq(spares.n[CDT_SPARE_CONN], 0);
}
