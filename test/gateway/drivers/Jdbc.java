// What drivers.test.ts asks of the JDBC driver. Where to connect is in libpq's variables, which JDBC does not read by itself.
import java.io.StringReader;
import java.sql.*;
import java.util.*;
import org.postgresql.PGConnection;

public class Jdbc {
  public static void main(String[] args) throws Exception {
    try (Connection conn = connect(System.getenv("PGPASSWORD")); Statement statement = conn.createStatement()) {
      say("woke");

      try (PreparedStatement sum = conn.prepareStatement("SELECT ?::int + ?::int")) {
        // From the fifth time on the driver names the statement on the server.
        for (int n = 0; n < 8; n++) {
          sum.setInt(1, n);
          sum.setInt(2, 1);
          check(number(sum.executeQuery()) == n + 1);
        }
      }
      say("prepared");

      try {
        statement.execute("SELECT 1 / 0");
      } catch (SQLException error) {
        say("error " + error.getSQLState());
      }

      conn.setAutoCommit(false);
      statement.execute("CREATE TEMP TABLE t (n int)");
      conn.commit();
      conn.setAutoCommit(true);
      say("transaction");

      try (ResultSet rows = statement.executeQuery("SELECT repeat('x', 3000000) FROM generate_series(1, 10)")) {
        while (rows.next()) check(rows.getString(1).length() == 3000000);
      }
      say("large");

      StringBuilder lines = new StringBuilder();
      for (int n = 0; n < 50000; n++) lines.append(n).append('\n');
      PGConnection pg = conn.unwrap(PGConnection.class);
      check(pg.getCopyAPI().copyIn("COPY t FROM STDIN", new StringReader(lines.toString())) == 50000);
      say("copied");

      try (PreparedStatement insert = conn.prepareStatement("INSERT INTO t VALUES (?)")) {
        for (int n = 0; n < 300; n++) {
          insert.setInt(1, n);
          insert.addBatch();
        }
        check(insert.executeBatch().length == 300);
      }
      say("pipelined");

      statement.execute("LISTEN word");
      statement.execute("NOTIFY word, 'heard'");
      check(pg.getNotifications()[0].getParameter().equals("heard"));
      say("notified");

      Timer timer = new Timer(true);
      timer.schedule(new TimerTask() {
        public void run() {
          try {
            statement.cancel();
          } catch (SQLException error) {
            throw new RuntimeException(error);
          }
        }
      }, 300);
      try {
        statement.execute("SELECT pg_sleep(30)");
      } catch (SQLException error) {
        say("cancelled " + error.getSQLState());
      }

      check(number(statement.executeQuery("SELECT 1")) == 1);
      say("still there");
    }
    try {
      connect("wrong");
    } catch (SQLException error) {
      say("wrong password " + error.getSQLState());
    }
  }

  static Connection connect(String password) throws SQLException {
    Properties properties = new Properties();
    properties.setProperty("user", System.getenv("PGUSER"));
    properties.setProperty("password", password);
    properties.setProperty("sslmode", "verify-full");
    properties.setProperty("sslrootcert", System.getenv("PGSSLROOTCERT"));
    String where = System.getenv("PGHOST") + ":" + System.getenv("PGPORT") + "/" + System.getenv("PGDATABASE");
    return DriverManager.getConnection("jdbc:postgresql://" + where, properties);
  }

  static int number(ResultSet rows) throws SQLException {
    rows.next();
    return rows.getInt(1);
  }

  static void check(boolean holds) {
    if (!holds) throw new AssertionError();
  }

  static void say(String step) {
    System.out.println(step);
  }
}
