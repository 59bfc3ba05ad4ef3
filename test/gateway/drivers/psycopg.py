# What drivers.test.ts asks of psycopg 3. Where to connect is in libpq's own variables.
import sys
import threading

# This folder holds a file named like the driver.
sys.path.pop(0)
import psycopg

conn = psycopg.connect(autocommit=True)
print("woke")

for _ in range(2):
    assert conn.execute("SELECT %s::int + %s::int", (1, 2), prepare=True).fetchone() == (3,)
print("prepared")

try:
    conn.execute("SELECT 1 / 0")
except psycopg.Error as error:
    print("error", error.sqlstate)

with conn.transaction():
    conn.execute("CREATE TEMP TABLE t (n int)")
print("transaction")

rows = conn.execute("SELECT repeat('x', 3000000) FROM generate_series(1, 10)").fetchall()
assert all(len(x) == 3000000 for (x,) in rows)
print("large")

with conn.cursor() as cursor:
    with cursor.copy("COPY t FROM STDIN") as copy:
        for n in range(50000):
            copy.write_row((n,))
    with cursor.copy("COPY t TO STDOUT") as copy:
        assert sum(1 for _ in copy.rows()) == 50000
print("copied")

with conn.pipeline():
    cursors = [conn.execute("SELECT %s::int", (n,)) for n in range(300)]
assert [cursor.fetchone()[0] for cursor in cursors] == list(range(300))
print("pipelined")

heard = []
conn.add_notify_handler(lambda notify: heard.append(notify.payload))
conn.execute("LISTEN word")
conn.execute("NOTIFY word, 'heard'")
assert heard == ["heard"]
print("notified")

threading.Timer(0.3, conn.cancel).start()
try:
    conn.execute("SELECT pg_sleep(30)")
except psycopg.Error as error:
    print("cancelled", error.sqlstate)

assert conn.execute("SELECT 1").fetchone() == (1,)
print("still there")
conn.close()
