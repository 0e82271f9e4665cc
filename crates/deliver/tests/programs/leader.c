/* A thread that is not the leader executes the program given, while others run. */
#include <pthread.h>
#include <unistd.h>

static char **command;

static void *spin(void *unused)
{
    for (;;)
        pause();
    return unused;
}

static void *execute(void *unused)
{
    execv(command[0], command);
    _exit(99);
    return unused;
}

int main(int count, char **arguments)
{
    pthread_t thread;
    command = arguments + 1;
    for (int i = 0; i < 8; i++)
        pthread_create(&thread, 0, spin, 0);
    pthread_create(&thread, 0, execute, 0);
    for (;;)
        pause();
}
