/** Parses a page of Markdown: links, their anchors, code, and the commands that a reader types. */

export interface Block {
  /** `sh`, `ts`, … */
  language: string
  text: string
  line: number
  /** The `<!-- name: value -->` comments right above it. */
  notes: Readonly<Record<string, string>>
}

/** The fenced blocks of a page, in their order. */
export function blocksOf(page: string): Block[] {
  const lines = page.split('\n')
  const blocks: Block[] = []
  let notes: Record<string, string> = {}
  for (let index = 0; index < lines.length; index++) {
    const line = lines[index]!
    const note = /^<!-- ([a-z]+): (.+) -->$/.exec(line)
    const open = /^```(\w*)\s*$/.exec(line)
    if (note) notes[note[1]!] = note[2]!
    else if (open) {
      const end = lines.findIndex((each, at) => at > index && /^```\s*$/.test(each))
      if (end === -1) throw new Error(`the block of line ${index + 1} has no end`)
      blocks.push({
        language: open[1]!,
        text: lines.slice(index + 1, end).join('\n'),
        line: index + 1,
        notes,
      })
      notes = {}
      index = end
    } else if (line.trim() !== '') notes = {}
  }
  return blocks
}

/** The page without its fenced blocks. */
export const proseOf = (page: string): string => page.replaceAll(/^```[\s\S]*?^```\s*$/gm, '')

/** Where links and pictures lead to. */
export function linksOf(page: string): string[] {
  const prose = proseOf(page).replaceAll(/`[^`\n]*`/g, '')
  return [
    ...[...prose.matchAll(/\]\(\s*<?([^)\s>]+)>?[^)]*\)/g)].map(([, to]) => to!),
    ...[...prose.matchAll(/^\[[^\]]+\]:\s*(\S+)/gm)].map(([, to]) => to!),
    ...[...prose.matchAll(/(?:src|href|srcset)="([^"]+)"/g)].map(([, to]) => to!),
  ]
}

/** The anchors that a page gives its headings, as GitHub makes them: a second one of the same words ends in -1. */
export function anchorsOf(page: string): Set<string> {
  const seen = new Map<string, number>()
  const anchors = new Set<string>()
  for (const [, heading = ''] of proseOf(page).matchAll(/^#{1,6}\s+(.+?)\s*#*$/gm)) {
    const base = heading
      .replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1')
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}\- _]/gu, '')
      .replaceAll(' ', '-')
    const before = seen.get(base) ?? 0
    seen.set(base, before + 1)
    anchors.add(before === 0 ? base : `${base}-${before}`)
  }
  for (const [, id = ''] of page.matchAll(/<a (?:id|name)="([^"]+)"/g)) anchors.add(id)
  return anchors
}

/** What is set as code within a line. */
export const codeOf = (page: string): string[] =>
  [...proseOf(page).matchAll(/`([^`\n]+)`/g)].map(([, code]) => code!)
