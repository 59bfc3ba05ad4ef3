/** Text as it may stand in HTML, in attributes too. */
export const text = (raw: string): string =>
  raw
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;")
    .replaceAll("'", "&#39;");

/** A whole page, complete in itself: it loads nothing. */
export const page = (title: string, body: string, script = ""): string => `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${text(title)}</title>
<style>${STYLE}</style>
</head>
<body>
${body}
${script === "" ? "" : `<script>${script}</script>`}
</body>
</html>
`;

const STYLE = `
:root { color-scheme: light dark; --bg: #fdfcfa; --panel: #f5f2ec; --line: #e2dcd0; --text: #23201b; --soft: #6b655b; --accent: #a85b00; --glow: #f2b04a;
  --get: #1f6f4a; --post: #8a4b00; --delete: #a3262a; --code: #f3efe7; --mark: #fff0cf; }
@media (prefers-color-scheme: dark) { :root { --bg: #14130f; --panel: #1c1a16; --line: #34302a; --text: #ebe6dc; --soft: #a39c8f; --accent: #f2b04a; --glow: #f2b04a;
  --get: #6fcf9f; --post: #f0b45b; --delete: #f28b82; --code: #211f1a; --mark: #3a2f16; } }
* { box-sizing: border-box; }
html { scroll-padding-top: 1.5rem; }
body { margin: 0; background: var(--bg); color: var(--text); font: 15px/1.6 system-ui, -apple-system, "Segoe UI", "Liberation Sans", sans-serif; }
a { color: var(--accent); text-decoration: none; }
a:hover { text-decoration: underline; }
:focus-visible { outline: 2px solid var(--glow); outline-offset: 2px; border-radius: 3px; }
code, pre, .path, .name { font-family: ui-monospace, "SF Mono", Menlo, Consolas, "Liberation Mono", monospace; font-size: .88em; }
code { background: var(--code); padding: .1em .35em; border-radius: 4px; overflow-wrap: anywhere; }
pre { background: var(--code); border: 1px solid var(--line); border-radius: 8px; padding: .8rem 1rem; overflow-x: auto; margin: .4rem 0 1rem; line-height: 1.5; }
pre code { background: none; padding: 0; font-size: 1em; overflow-wrap: normal; }
.layout { display: grid; grid-template-columns: 19rem minmax(0, 1fr); min-height: 100vh; }
nav { position: sticky; top: 0; align-self: start; height: 100vh; overflow-y: auto; background: var(--panel); border-right: 1px solid var(--line); padding: 1.4rem 1rem 2rem; }
nav h1 { font-size: 1.05rem; margin: 0 .5rem .9rem; display: flex; align-items: center; gap: .5rem; }
nav h1::before { content: ""; width: .8rem; height: .8rem; border-radius: 50%; background: var(--glow); box-shadow: 0 0 .8rem var(--glow); }
nav h2 { font-size: .72rem; letter-spacing: .06em; text-transform: uppercase; color: var(--soft); margin: 1.2rem .5rem .3rem; }
nav input { width: 100%; padding: .5rem .7rem; border: 1px solid var(--line); border-radius: 8px; background: var(--bg); color: var(--text); font: inherit; }
nav ul { list-style: none; margin: 0; padding: 0; }
nav li a { display: flex; gap: .5rem; align-items: baseline; padding: .22rem .5rem; border-radius: 6px; color: var(--text); font-size: .86rem; line-height: 1.4; }
nav li a:hover { background: var(--code); text-decoration: none; }
nav li a.here { background: var(--mark); }
nav .method { width: 2.6rem; flex: none; font-size: .64rem; padding: 0; background: none; }
.none { color: var(--soft); padding: .5rem; font-size: .9rem; }
main { padding: 2.2rem clamp(1.2rem, 4vw, 3.5rem) 6rem; max-width: 64rem; min-width: 0; }
main > header { border-bottom: 1px solid var(--line); padding-bottom: 1.4rem; margin-bottom: 1rem; }
main > header h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .8rem; }
main > header p { max-width: 46rem; margin: .5rem 0; }
h2.group { font-size: 1.35rem; margin: 2.8rem 0 .4rem; }
article { border: 1px solid var(--line); border-radius: 10px; padding: 1.1rem 1.3rem .6rem; margin: 1rem 0; }
article:target { border-color: var(--glow); }
article h3 { margin: 0; font-size: 1.08rem; }
article h4 { font-size: .8rem; color: var(--soft); margin: 1.1rem 0 .2rem; font-weight: 600; }
.line { display: flex; flex-wrap: wrap; gap: .3rem .7rem; align-items: center; margin: .35rem 0 .2rem; }
.path { font-size: .95rem; overflow-wrap: anywhere; }
.method { font: 700 .72rem/1.5 ui-monospace, Menlo, Consolas, "Liberation Mono", monospace; }
.line .method { border: 1px solid currentColor; border-radius: 5px; padding: .05rem .4rem; }
.get { color: var(--get); } .post { color: var(--post); } .delete { color: var(--delete); }
.scope { font-size: .78rem; color: var(--soft); border: 1px solid var(--line); border-radius: 99px; padding: .02rem .6rem; }
.about { max-width: 46rem; margin: .4rem 0; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; margin: .2rem 0 .8rem; font-size: .9rem; }
th { text-align: left; font-weight: 600; font-size: .76rem; color: var(--soft); padding: .25rem .8rem .25rem 0; border-bottom: 1px solid var(--line); }
td { vertical-align: top; padding: .34rem .8rem .34rem 0; border-bottom: 1px solid var(--line); }
tr:last-child td { border-bottom: 0; }
td:first-child { white-space: nowrap; }
td.type { color: var(--soft); font-size: .86rem; min-width: 8rem; max-width: 20rem; }
.required { color: var(--accent); font-size: .74rem; margin-left: .4rem; }
details { border-top: 1px solid var(--line); }
details summary { cursor: pointer; padding: .45rem 0; font-size: .92rem; }
details summary .code { font-family: ui-monospace, Menlo, Consolas, "Liberation Mono", monospace; font-weight: 700; margin-right: .5rem; }
.plain { border-top: 1px solid var(--line); margin: 0; padding: .45rem 0 .45rem 1.05rem; font-size: .92rem; }
.plain .code { font-family: ui-monospace, Menlo, Consolas, "Liberation Mono", monospace; font-weight: 700; margin-right: .5rem; }
td .code { font-family: ui-monospace, Menlo, Consolas, "Liberation Mono", monospace; font-weight: 700; margin-right: .3rem; }
details[open] summary { margin-bottom: .2rem; }
.ok .code { color: var(--get); } .bad .code { color: var(--delete); }
.single { max-width: 42rem; margin: 0 auto; padding-top: 4rem; }
.single .status { font-size: 3rem; font-weight: 700; line-height: 1; color: var(--accent); margin: 1.5rem 0 .5rem; }
.single h1 { margin: 0 0 .4rem; line-height: 1.25; }
.lead { font-size: 1.08rem; }
[hidden] { display: none !important; }
@media (max-width: 40rem) { article tr { display: block; border-bottom: 1px solid var(--line); padding: .3rem 0; } article th { display: none; } article td { display: block; border: 0; padding: 0; } article td.type { max-width: none; } }
@media (max-width: 60rem) { .layout { grid-template-columns: minmax(0, 1fr); } nav { position: static; height: auto; max-height: 19rem; border-right: 0; border-bottom: 1px solid var(--line); } }
`;
