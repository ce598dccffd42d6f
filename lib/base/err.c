/* err - the rows of err.h as look-ups */
#include "lib/base/err.h"

struct err_row {
    const char *code;
    int status;
    const char *label;
    bool again;
};

#define ERR_ROW(name, status, label, again)                                    \
    [ERR_##name] = {#name, status, label, again},
static const struct err_row rows[ERR_N] = {
    [OK] = {"OK", 200, "OK", false},
    [ERR_CUT] = {"CUT", 499, "Client Closed Request", false},
    ERR_ROWS(ERR_ROW)};

const char *err_code(enum err err)
{
    return rows[err].code;
}

const char *err_label(enum err err)
{
    return rows[err].label;
}

int err_status(enum err err)
{
    return rows[err].status;
}

bool err_may_retry(enum err err)
{
    return rows[err].again;
}
