/** Every kind of alert has its page, the list names them all, and no page is about an alert that does not exist. */
import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { alertKinds, runbookPage } from '../../domain/monitoring/alert-kinds.ts'

const directory = fileURLToPath(new URL('../../docs/runbooks/', import.meta.url))
const pages = readdirSync(directory).filter((name) => name.endsWith('.md'))
const read = (page: string) => readFileSync(`${directory}${page}`, 'utf8')

describe('runbooks', () => {
  it('are one for each kind of alert', () => {
    const wanted = new Set([...alertKinds.map(runbookPage), 'README.md'])
    // The pages beside these, of Prometheus' rules, are held to those by test/deploy/monitoring.test.ts.
    expect(new Set(pages)).toEqual(wanted)
  })

  it.each(alertKinds)('%s says what to do and when it is over', (kind) => {
    const page = read(runbookPage(kind))
    expect(page).toContain(`\`${kind}\``)
    expect(page).toMatch(/## What to do\n\n1\. /)
    expect(page).toMatch(/## When it is over\n\n\S/)
    expect(read('README.md')).toContain(`(${runbookPage(kind)})`)
  })
})
