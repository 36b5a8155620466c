/**
 * Tests that no text of a sender or an author becomes markup where people decide: every kind of alert and every text of a card, in every
 * output language, read by a parser of it.
 */
import MarkdownIt from 'markdown-it'
import { expect, it } from 'vitest'
import {
  opsgenieAlert,
  pagerdutyEvent,
  slackMessage,
  teamsMessage,
} from '../../../../activities/alerts/delivery/channels.ts'
import { alertText, titleOf, type Message } from '../../../../activities/alerts/delivery/message.ts'
import { alertKinds } from '../../../../domain/monitoring/alert-kinds.ts'
import { escapedText, titledTable } from '../../../../domain/markdown.ts'

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
  const escaped = escapedText(text)
  expect(nodesOf(escaped)).toEqual([])
  const page = titledTable('', ['a', 'b'], [[escaped, '1']])
  expect(nodesOf(page)).toEqual([])
  expect(parser.render(page).match(/<td/g)).toHaveLength(2)
  expect(escaped).not.toMatch(/@\w|:\/\/|www\.|[\n\r]/i)
  expect(escaped).not.toMatch(bidi)
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
        if (type === 'plain_text') continue
        const links = [...shown.matchAll(/<([^>|]*)/g)].map(([, to]) => to)
        expect(links.filter((to) => !to!.startsWith('https://tenure.example/'))).toEqual([])
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
