/** Tests that the Markdown of runbooks and cards never becomes active content. */
import MarkdownIt from 'markdown-it'
import { expect, it, vi } from 'vitest'
import { Markdown } from '../../../../api/dashboard/components/markdown.tsx'

const own = new MarkdownIt().renderer
const renderer = Object.getPrototypeOf(own) as typeof own

const html = (source: string): string => String(Markdown({ source }))
const tagsOf = (source: string): string[] => [...html(source).matchAll(/<[^>]*>/g)].map(([tag]) => tag)

it.each([
  '<script>alert(1)</script>',
  'a <b onclick="alert(1)">b</b>',
  '<img src=x onerror=alert(1)>',
  '![picture](https://evil.example/x.png)',
  '![picture](javascript:alert(1))',
  '[a link](javascript:alert(1))',
  '[a link](JaVaScRiPt:alert(1))',
  '[a link](data:text/html;base64,PHNjcmlwdD4=)',
  '[a link](http://evil.example)',
  '[a link](//evil.example)',
  '[a link](/sign-out)',
  '[a link](../../secret.md)',
  '<javascript:alert(1)>',
  '[a][b]\n\n[b]: javascript:alert(1)',
  '`<script>` and **<svg onload=alert(1)>**',
  '```html\n<script>alert(1)</script>\n```',
  '    <script>alert(1)</script>',
  '```" onload="alert(1)\nx\n```',
  '| a" onfocus="alert(1) | <img src=x> |\n| --- | ---: |\n| <script> | [x](javascript:alert(1)) |',
])('escapes %j', (source) => {
  for (const tag of tagsOf(source)) {
    expect(tag).toMatch(/^<\/?(?:div|p|a|code|pre|strong|table|thead|tbody|tr|th|td)[ >]/)
    const attributes = tag.replace(/ href="https:[^"]*"/, '').replaceAll(/"[^"]*"/g, '""')
    expect(attributes).not.toMatch(/\s(?:on\w+|style|src|href)=/)
  }
})

it('links to https and to pages beside a runbook', () => {
  expect(html('[Docs](https://example.org/a?b=c#d)')).toContain(
    '<a href="https://example.org/a?b=c#d">Docs</a>',
  )
  expect(html('[Quality](quality-lost.md)')).toContain('<a href="/runbooks/quality-lost">Quality</a>')
  expect(html('[Latency](./prometheus/latency.md "title")')).toContain(
    '<a href="/runbooks/latency">Latency</a>',
  )
  expect(html('[secret](../../secret.md)')).toContain('<p>secret</p>')
})

it('renders headings, lists, code and tables', () => {
  expect(html('# One\n\n- a\n- b `c`')).toMatch(
    /<h1>One<\/h1>\s*<ul>\s*<li>a<\/li>\s*<li>b <code>c<\/code><\/li>/,
  )
  expect(html('```sh\nnpx tenure\n```')).toContain('<pre tabindex="0">npx tenure\n</pre>')
  const table = html('| a | b |\n| --- | ---: |\n| x\\|y | 2 |')
  expect(table).toContain('<div class="scroll" role="group" aria-label="Table: a, b" tabindex="0"><table>')
  expect(table).toContain('<th scope="col" class="number">b</th>')
  expect(table).toContain('<td data-head="a">x|y</td>')
})

it('folds a cell with a long list of values', async () => {
  const long = Array.from({ length: 80 }, (_, i) => `<b${i}`).join(', ')
  const html = String(await Markdown({ source: `| a | b |\n|---|---|\n| ${long} | short |` }))
  expect(html).toMatch(
    /<td data-head="a"><details><summary>&lt;b0, .{10,90}…<\/summary>.*&lt;b79<\/details><\/td>/,
  )
  expect(html).toContain('<td data-head="b">short</td>')
  expect(html).not.toContain('<b')
})

it('names the column of each cell by the heads of its own table', () => {
  const cells = html('| a | b |\n| --- | --- |\n| 1 | 2 |\n\n| c |\n| --- |\n| 3 |').matchAll(
    /data-head="(.)">(\d)/g,
  )
  expect(Array.from(cells, ([, head, cell]) => `${head}${cell}`)).toEqual(['a1', 'b2', 'c3'])
})

it('reads as many tokens for each cell of a long table as for each of a short one', () => {
  let reads = 0
  const { render } = renderer
  const counted = vi.spyOn(renderer, 'render').mockImplementation(function (this: unknown, tokens, ...rest) {
    const watched = new Proxy(tokens, { get: (target, key) => (reads++, Reflect.get(target, key)) })
    return render.call(this as typeof renderer, watched, ...rest)
  })
  const readsOf = (rows: number) => {
    reads = 0
    html(`| a | b | c |\n| --- | --- | --- |\n${'| 1 | 2 | 3 |\n'.repeat(rows)}`)
    return reads
  }
  const few = readsOf(100)
  expect(few).toBeGreaterThan(100)
  expect(readsOf(800)).toBeLessThan(8 * few)
  counted.mockRestore()
})
