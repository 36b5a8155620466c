/**
 * Tests that no text of a sender or an author becomes markup where people decide: every kind of alert and every text of a card, in every
 * output language, read by a parser of it.
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import MarkdownIt from 'markdown-it'
import { expect, it, onTestFinished } from 'vitest'
import {
  opsgenieAlert,
  pagerdutyEvent,
  slackMessage,
  teamsMessage,
} from '../../../../activities/alerts/delivery/channels.ts'
import { alertText, titleOf, type Message } from '../../../../activities/alerts/delivery/message.ts'
import { alertKinds } from '../../../../domain/monitoring/alert-kinds.ts'
import { checkout } from '../../../../temporal.config.ts'
import { code, markup, titledTable } from '../../../../domain/markdown.ts'

const hostile = [
  '[approve](https://evil.example)',
  '![x](https://evil.example/x.png)',
  '<img src=x onerror=alert(1)>',
  '<a href="javascript:alert(1)">x</a>',
  '[x](javascript:alert(1))',
  '<https://evil.example>',
  'https://evil.example/a www.evil.example a@evil.example',
  '[x][1]\n\n[1]: https://evil.example',
  '<!channel> <!here> <@U0ANNA> <https://evil.example|approve>',
  '@team @everyone #12 ~label',
  'a | b | c\n|---|---|',
  '```\ncode\n``` `x`',
  '1. item',
  '- item',
  '# heading\n- item\n1. item\n+ item\n> quote\n===',
  '**bold** __bold__ ~~gone~~',
  '&lt;b&gt; &#60;b&#62; \\[x](https://evil.example)',
  'safe\u202egnp.exe \u2066x\u2069 \u200f',
]
const bidi = /[\u200e\u200f\u202a-\u202e\u2066-\u2069]/

const parser = new MarkdownIt({ html: true, linkify: true })
/** The types of the nodes that a Markdown text becomes, without what a plain text in a table has. */
function nodesOf(markdown: string): string[] {
  const tokens = parser.parse(markdown, {}).flatMap((each) => [each, ...(each.children ?? [])])
  return tokens
    .map(({ type }) => type)
    .filter(
      (type) =>
        !/^(paragraph|inline|text|text_special|entity|table|thead|tbody|tr|th|td)(_open|_close)?$/.test(type),
    )
}

it.each(hostile)('in Markdown, %j is plain text, at the start of a line and in a table', (text) => {
  const { markdown: escaped } = markup`${text}`
  expect(nodesOf(escaped)).toEqual([])
  const { markdown: page } = titledTable(markup``, ['a', 'b'], [[text, '1']])
  expect(nodesOf(page)).toEqual([])
  expect(parser.render(page).match(/<td/g)).toHaveLength(2)
  expect(escaped).not.toMatch(/@\w|:\/\/|www\.|[\n\r]/i)
  expect(escaped).not.toMatch(bidi)
})

it('a template of Markdown escapes its texts, keeps its Markdown, and leaves figures as they are', () => {
  const bold = markup`**${'*b*'}**`
  const { markdown } = markup`${'<i>'} ${bold} ${code('a`_b')} ${-0.5} ${'+0.1 to +0.2'}`
  expect(markdown).toBe(String.raw`\<i\> **\*b\*** ` + '`a_b` -0.5 +0.1 to +0.2')
})

it('the report of CI, which runs without Tenure, shows hostile texts of a project as they are', () => {
  const folder = mkdtempSync(join(tmpdir(), 'tenure-report-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  const models = hostile.map((name) => ({ name, issues: [name] }))
  writeFileSync(join(folder, 'check.json'), JSON.stringify({ models, settings: { issues: hostile } }))
  const page = execFileSync(process.execPath, [join(checkout, 'deploy/ci/report.mjs'), folder], {
    encoding: 'utf8',
  })
  const made = ['heading', 'bullet_list', 'list_item'].flatMap((type) => [`${type}_open`, `${type}_close`])
  expect(new Set(nodesOf(page))).toEqual(new Set(made))
  expect(parser.render(page).match(/<td/g)).toHaveLength(2 * hostile.length)
  expect(page).not.toMatch(/@\w|:\/\/|www\./i)
  expect(page).not.toMatch(bidi)
})

/** The texts with the type of the object that holds them. */
function textsOf(value: unknown, type = '', key = ''): { type: string; key: string; text: string }[] {
  if (typeof value === 'string') return [{ type, key, text: value }]
  if (Array.isArray(value)) return value.flatMap((each) => textsOf(each, type, key))
  if (typeof value !== 'object' || value === null) return []
  const own = 'type' in value && typeof value.type === 'string' ? value.type : type
  return Object.entries(value).flatMap(([name, each]) => textsOf(each, own, name))
}

it.each(alertKinds)('an alert %s shows hostile texts as they are, in every channel', (kind) => {
  for (const text of hostile)
    for (const about of ['raised', 'reminder', 'resolved'] as const) {
      const message = {
        id: 1,
        about,
        runbook: 'https://tenure.example/runbooks/x',
        link: 'https://tenure.example/alerts#a1',
        alert: {
          id: 1,
          dedupeKey: 'k',
          kind,
          severity: 'warning',
          model: text,
          message: text,
          resolution: text,
          raisedAt: '2026-01-01T00:00:00.000Z',
          resolvedAt: '2026-01-01T00:00:00.000Z',
          evidence: { release: 'rel_1', digests: {}, headline: text, version: text, replica: text },
        },
      } as unknown as Message
      const teams = textsOf(teamsMessage(message)).filter(({ key }) => key === 'text')
      // A TextRun renders no Markdown; a TextBlock does.
      expect(new Set(teams.map(({ type }) => type))).toEqual(new Set(['TextRun']))
      const slack = textsOf(slackMessage(message, true)).filter(({ key }) => key === 'text')
      for (const { type, text: shown } of slack) {
        expect(shown).not.toMatch(bidi)
        // An element of rich text is literal.
        if (type === 'plain_text' || type === 'text') continue
        const links = [...shown.matchAll(/<([^>|]*)/g)].map(([, to]) => to)
        expect(
          links.filter((to) => !to!.startsWith('https://tenure.example/') && !/^!date\^\d+\^/.test(to!)),
        ).toEqual([])
      }
      const { summary } = (pagerdutyEvent('r'.repeat(32), message).body as { payload?: { summary?: string } })
        .payload ?? { summary: '' }
      const { message: genie, description } = opsgenieAlert(message).body as Record<
        string,
        string | undefined
      >
      for (const shown of [
        titleOf(message),
        alertText(message),
        summary,
        genie,
        description,
        ...teams.map((each) => each.text),
      ])
        expect(shown ?? '').not.toMatch(bidi)
    }
})
