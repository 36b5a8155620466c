/**
 * Finds words that people read under two names. The texts are those of pages, messages and the command line, which are strings and JSX of
 * the sources, and those of documents. Identifiers, stored values and code in documents keep their names.
 */
import type { Node } from 'oxc-parser'
import type { Source } from './source.ts'

/** A name that is not used, and what is said instead. */
export const replacedWords: readonly { pattern: RegExp; say: string }[] = [
  { pattern: /(?<![-\w])anchors?\b/i, say: 'the best release of 90 days' },
  {
    pattern: /\b(excess failures?|harm budget|(failures?|failed requests?) above (the )?control)\b/i,
    say: 'failure budget',
  },
  {
    pattern: /\b(last|newest|earlier|only|no) proven\b(?! to)|\bproven (version|champion)s?\b/i,
    say: 'known good',
  },
  { pattern: /\bwithdraw(s|n|al|als|ing)?\b/i, say: 'roll back' },
  {
    pattern: /\bquarantin\w*|\b(data|snapshots?|batch|batches|rows) (is|are|was|were|has been)? ?blocked\b/i,
    say: 'the data failed validation',
  },
  { pattern: /\bnot[ _]better\b/i, say: 'failed (the gate)' },
  { pattern: /\bnot held\b/i, say: 'skipped' },
]

export interface ReadText {
  path: string
  text: string
}

/** The texts of a source. A string without a space is an identifier or a value, except in JSX; SQL is no text for people. */
export function textsOf({ path, nodes }: Pick<Source, 'path' | 'nodes'>): ReadText[] {
  return nodes.flatMap((node) => {
    const text = textOf(node)
    return text === undefined ? [] : [{ path, text }]
  })
}

function textOf(node: Node): string | undefined {
  switch (node.type) {
    case 'JSXText':
      return node.value
    case 'Literal':
      return typeof node.value === 'string' ? proseIn(node.value) : undefined
    case 'TemplateElement':
      return proseIn(node.value.cooked ?? '')
    default:
      return undefined
  }
}

const sql = /^\s*(select|insert|update|with|case|when|,)\b|\b(as|not null|set) \w+,/m

const proseIn = (text: string): string | undefined =>
  text.includes(' ') && !sql.test(text) ? withoutCode(text) : undefined

const withoutCode = (text: string): string => text.replaceAll(/`[^`]*`/g, '`…`')

/** The prose of a Markdown file: without code, addresses of links and comments. */
export const proseOf = (markdown: string): string =>
  withoutCode(markdown.replaceAll(/^(`{3,})[^]*?^\1/gm, '').replaceAll(/<!--[^]*?-->/g, '')).replaceAll(
    /\]\([^)]*\)/g,
    ']',
  )

export function issuesOfWords(texts: readonly ReadText[]): string[] {
  return texts.flatMap(({ path, text }) =>
    replacedWords.flatMap(({ pattern, say }) => {
      const found = pattern.exec(text)
      return found === null ? [] : [`${path}: “${found[0]}” in “${around(text, found)}”: say “${say}”`]
    }),
  )
}

function around(text: string, { index, 0: found }: RegExpExecArray): string {
  return text
    .slice(Math.max(0, index - 60), index + found.length + 60)
    .replaceAll(/\s+/g, ' ')
    .trim()
}
