// For each line of input, the weather; "reload" opens the file again first.
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.file.Path;
import weather.Weather;

class Reader {
    public static void main(String[] arguments) throws Exception {
        Weather weather = new Weather(Path.of(arguments[0]));
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            if (line.equals("reload")) {
                weather.reload();
            }
            Weather.Wind wind = weather.wind();
            System.out.println(weather.condition().ordinal() + " " + weather.temperature() + " "
                    + (weather.open() ? 1 : 0) + " " + weather.station() + " " + weather.gusts()[2]
                    + " " + wind.speed() + " " + wind.from() + " "
                    + Long.toUnsignedString(weather.visitors()));
        }
    }
}
