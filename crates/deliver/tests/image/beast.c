/* An image that has nothing to do with time: one function, one variable. */
__attribute__((section(".vvar"), aligned(4096), visibility("hidden")))
volatile const long vvar_number[512] = { 666 };

long beast_number(void)
{
    return vvar_number[0];
}
