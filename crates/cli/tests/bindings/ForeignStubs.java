// Writes the classes of java.lang.foreign of the running Java, as Java 17's compiler reads them:
// it can then compile for a newer Java whose own compiler is not to be had.
import java.net.URI;
import java.nio.file.FileSystems;
import java.nio.file.Files;
import java.nio.file.Path;

class ForeignStubs {
    public static void main(String[] arguments) throws Exception {
        Path out = Files.createDirectories(Path.of(arguments[0], "java/lang/foreign"));
        Path modules = FileSystems.getFileSystem(URI.create("jrt:/")).getPath("/modules");
        try (var classes = Files.list(modules.resolve("java.base/java/lang/foreign"))) {
            for (Path path : (Iterable<Path>) classes::iterator) {
                byte[] bytes = Files.readAllBytes(path);
                bytes[5] = 0;
                bytes[7] = 61;
                Files.write(out.resolve(path.getFileName().toString()), bytes);
            }
        }
    }
}
