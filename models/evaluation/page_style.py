"""The look of the evaluation page: light and dark after the reader's setting, contrast of at least 4.5 to 1 for text."""

STYLE = """
:root { color-scheme: light dark; --paper: #ffffff; --ink: #1d2329; --soft: #55606b; --line: #c9d0d6; --accent: #1f5fbf;
  --good: #17663a; --bad: #b3261e; --mark: #8a5a00; }
@media (prefers-color-scheme: dark) { :root { --paper: #14181c; --ink: #e8ecef; --soft: #a8b3bd; --line: #3a434b;
  --accent: #86b6ff; --good: #7bd69d; --bad: #ff9d94; --mark: #f0c26a; } }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 68rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .5rem; } h2 { font-size: 1.25rem; margin: 0 0 .5rem; }
h3 { font-size: 1rem; margin: 1.25rem 0 .25rem; }
section { border-top: 1px solid var(--line); padding-top: 1.25rem; margin-top: 2rem; }
p { max-width: 48rem; margin: .25rem 0 .75rem; }
.pass { color: var(--good); } .fail { color: var(--bad); }
.table { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: .75rem 0; }
caption { text-align: left; color: var(--soft); padding-bottom: .25rem; }
th, td { text-align: left; padding: .3rem .9rem .3rem 0; border-bottom: 1px solid var(--line); font-size: .9rem; vertical-align: top; }
th { font-weight: 600; }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(8.5rem, 1fr)); gap: .9rem; }
.pairs { grid-template-columns: repeat(auto-fill, minmax(16.5rem, 1fr)); }
figure { margin: 0; } figure img { border-radius: 6px; max-width: 100%; height: auto; margin-right: 4px; }
figcaption { font-size: .78rem; line-height: 1.35; color: var(--soft); overflow-wrap: anywhere; }
svg { max-width: 100%; height: auto; display: block; } svg text { fill: var(--ink); font-size: 13px; }
svg line { stroke-width: 1; } svg .grid { stroke: var(--line); } svg .interval { stroke: var(--accent); stroke-width: 3; }
svg .ceiling { stroke: var(--mark); stroke-width: 3; } svg .chance { stroke: var(--soft); stroke-width: 2; }
svg .dot, svg .bar { fill: var(--accent); }
pre { overflow: auto; max-height: 30rem; font-size: .8rem; } summary { cursor: pointer; }
"""
