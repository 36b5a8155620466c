/** Parses a Markdown page: links, anchors, code, and the commands that a reader types. */

export interface Block {
  /** The language, such as `sh` or `ts`. */
  language: string
  text: string
  line: number
  /** The `<!-- name: value -->` comments directly above the block. */
  notes: Readonly<Record<string, string>>
}

/** Returns the fenced blocks of a page in order. */
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

/** Returns the page without its fenced blocks. */
export const proseOf = (page: string): string => page.replaceAll(/^```[\s\S]*?^```\s*$/gm, '')

/** Returns the targets of links and pictures. */
export function linksOf(page: string): string[] {
  const prose = proseOf(page).replaceAll(/`[^`\n]*`/g, '')
  return [
    ...[...prose.matchAll(/\]\(\s*<?([^)\s>]+)>?[^)]*\)/g)].map(([, to]) => to!),
    ...[...prose.matchAll(/^\[[^\]]+\]:\s*(\S+)/gm)].map(([, to]) => to!),
    ...[...prose.matchAll(/(?:src|href|srcset)="([^"]+)"/g)].map(([, to]) => to!),
  ]
}

/** Returns the anchors that GitHub gives the headings of a page. The second heading with the same words ends in -1. */
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

/** Returns the inline code spans. */
export const codeOf = (page: string): string[] =>
  [...proseOf(page).matchAll(/`([^`\n]+)`/g)].map(([, code]) => code!)
