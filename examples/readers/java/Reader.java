// Prints the temperature now for each line that it reads.
//
//   java -cp /usr/share/java/jna.jar Reader.java ./libweather.so.1
import com.sun.jna.Function;
import com.sun.jna.NativeLibrary;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.text.DecimalFormat;
import java.text.DecimalFormatSymbols;
import java.util.Locale;

public class Reader {
    public static void main(String[] arguments) throws IOException {
        Function temperature =
                NativeLibrary.getInstance(arguments[0]).getFunction("weather_temperature");
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
        while (lines.readLine() != null) {
            System.out.println(text(temperature.invokeDouble(new Object[0])));
        }
    }

    /** As C's %g has it. */
    private static String text(double value) {
        boolean isLong = Math.abs(value) >= 1e6;
        DecimalFormatSymbols symbols = DecimalFormatSymbols.getInstance(Locale.ROOT);
        symbols.setExponentSeparator(isLong ? "e+" : "e");
        return new DecimalFormat(isLong ? "0.#####E00" : "0.#####", symbols).format(value);
    }
}
