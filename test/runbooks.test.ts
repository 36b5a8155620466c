/** Every kind of alert has its page, the list names them all, and no page is about an alert that does not exist. */
import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { alertKinds, runbookPage } from '../domain/alert-kinds.ts'

const directory = fileURLToPath(new URL('../docs/runbooks/', import.meta.url))
const read = (page: string) => readFileSync(`${directory}${page}`, 'utf8')

describe('runbooks', () => {
  it('are one for each kind of alert', () => {
    const wanted = new Set([...alertKinds.map(runbookPage), 'README.md'])
    expect(new Set(readdirSync(directory))).toEqual(wanted)
  })

  it.each(alertKinds)('%s says what to do and when it is over', (kind) => {
    const page = read(runbookPage(kind))
    expect(page).toContain(`\`${kind}\``)
    expect(page).toMatch(/## What to do\n\n1\. /)
    expect(page).toMatch(/## When it is over\n\n\S/)
    expect(read('README.md')).toContain(`(${runbookPage(kind)})`)
  })

  it('lead only to pages that exist', () => {
    for (const page of readdirSync(directory))
      for (const [, link = ''] of read(page).matchAll(/\]\(([^)]+)\)/g))
        expect(readdirSync(directory)).toContain(link)
  })
})
