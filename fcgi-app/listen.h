#pragma once
/*
 * listen - the listening socket of FCGI_LISTEN: unix:PATH, [tcp:]HOST:PORT,
 * fd:0, or, when the setting is absent, a listening descriptor 0 that was
 * handed over at start (spawn-fcgi, systemd).
 */
struct conf;

/* Non-blocking and close-on-exec; -1 with the reason printed on stderr. */
int listen_open(const struct conf *conf);

/* Removes the unix socket's name again, if listen_open() made one. */
void listen_close(const struct conf *conf, int fd);
