#pragma once
/* version - the one place that says which release this is */
#define VERSION_NUMBER "1.0.0"
#define VERSION_TEXT   "sql-free " VERSION_NUMBER
