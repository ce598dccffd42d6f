#pragma once
/* version - the one place that says which release this is */
#define VERSION_TEXT "sql-free 1.0.0"
