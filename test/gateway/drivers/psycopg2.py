# What drivers.test.ts asks of psycopg 2. Where to connect is in libpq's own variables.
import io
import sys
import threading

# This folder holds a file named like the driver.
sys.path.pop(0)
import psycopg2

conn = psycopg2.connect("")
conn.autocommit = True
cursor = conn.cursor()
print("woke")

cursor.execute("PREPARE sum AS SELECT $1::int + $2::int")
for _ in range(2):
    cursor.execute("EXECUTE sum (%s, %s)", (1, 2))
    assert cursor.fetchone() == (3,)
print("prepared")

try:
    cursor.execute("SELECT 1 / 0")
except psycopg2.Error as error:
    print("error", error.pgcode)

conn.autocommit = False
cursor.execute("CREATE TEMP TABLE t (n int)")
conn.commit()
conn.autocommit = True
print("transaction")

cursor.execute("SELECT repeat('x', 3000000) FROM generate_series(1, 10)")
assert all(len(x) == 3000000 for (x,) in cursor.fetchall())
print("large")

cursor.copy_expert("COPY t FROM STDIN", io.StringIO("".join(f"{n}\n" for n in range(50000))))
cursor.execute("SELECT count(*) FROM t")
assert cursor.fetchone() == (50000,)
print("copied")

cursor.execute("LISTEN word")
cursor.execute("NOTIFY word, 'heard'")
conn.poll()
assert conn.notifies[0].payload == "heard"
print("notified")

threading.Timer(0.3, conn.cancel).start()
try:
    cursor.execute("SELECT pg_sleep(30)")
except psycopg2.Error as error:
    print("cancelled", error.pgcode)

cursor.execute("SELECT 1")
assert cursor.fetchone() == (1,)
print("still there")
conn.close()
