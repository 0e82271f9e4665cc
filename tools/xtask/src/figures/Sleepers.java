/** A hundred tests, each of which waits for what takes 36 seconds: an hour of sleeping. */
class Sleepers {
    public static void main(String[] arguments) throws Exception {
        for (int i = 0; i < 100; i++) {
            long start = System.nanoTime();
            Thread.sleep(36_000);
            if (System.nanoTime() - start < 36_000_000_000L) throw new AssertionError(i);
        }
    }
}
