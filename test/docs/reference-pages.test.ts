/** Tests that the pages generated from the code are complete, and that `npm run check` detects outdated ones. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { metricTable } from '../../api/metrics/metric-catalogue.ts'
import { commands } from '../../cli/commands/all-commands.ts'
import { errorTable } from '../../domain/errors.ts'
import { alertKinds } from '../../domain/monitoring/alert-kinds.ts'
import { defaultCanaryPolicy } from '../../domain/canary/policy.ts'
import { readDeclarations } from '../../docs/generate/pages/members.ts'
import { differing, makePages } from '../../docs/generate/pages/pages.ts'
import { durationOf, markdownTable, valueOf } from '../support/docs/markdown-table.ts'

let pages: ReadonlyMap<string, string>
let directory: string
beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'tenure-pages-'))
  pages = await makePages()
})
afterAll(() => rmSync(directory, { recursive: true }))

const page = (name: string) => pages.get(name) ?? ''

describe('the reference', () => {
  it('is reported as stale when a page is missing or differs', () => {
    for (const [name, text] of pages) if (name !== 'errors.md') writeFileSync(join(directory, name), text)
    expect(differing(pages, directory)).toEqual(['errors.md'])
    writeFileSync(join(directory, 'errors.md'), page('errors.md').replace('404', '410'))
    expect(differing(pages, directory)).toEqual(['errors.md'])
  })

  it('has every error, metric and command', () => {
    for (const name of Object.keys(errorTable)) expect(page('errors.md')).toContain(`| \`${name}\` |`)
    for (const name of Object.keys(metricTable)) expect(page('metrics.md')).toContain(`| \`${name}\` |`)
    for (const each of commands)
      for (const { name } of 'commands' in each ? each.commands : [each])
        expect(page('commands.md')).toContain(`${'commands' in each ? `${each.name} ` : ''}${name}`)
  })

  it('counts and names what a person has to learn', () => {
    expect(page('surface.md')).toContain(`| kinds of alerts | ${alertKinds.length} |`)
    for (const name of [...alertKinds, 'releases', 'POST /v1/models/:name/predict', 'models show <model>'])
      expect(page('surface.md')).toContain(`- \`${name}\``)
    expect(page('surface.md')).not.toContain('predictions_default')
  })

  it('takes defaults and ranges from the code', () => {
    expect(page('policy.md')).toContain(
      `| \`harmBudget\` | \`number\` | \`${defaultCanaryPolicy.harmBudget}\` | 0 or more |`,
    )
    expect(page('policy.md')).toContain(
      '| `holdbackBp` | `number` | `500` (5 %) | a whole number from 1 to 5,000 |',
    )
    expect(page('configuration.md')).toContain('| `TENURE_PORT` | `7400` | a whole number from 0 to 65,535 |')
    expect(page('http.md')).toContain('### POST /v1/models/:name/predict')
  })
})

describe('the members of a source file', () => {
  it('are listed with their comments, on one line', () => {
    const { types, unions, tables } = readDeclarations('domain/release/policy.ts')
    const stage = types.get('StagePolicy') ?? []
    expect(stage.map(({ name }) => name)).toEqual(['shareBp', 'minMs', 'minRequests', 'deadlineMs'])
    expect(stage[0]).toMatchObject({
      type: 'number',
      optional: false,
      meaning: "The candidate's share in basis points.",
    })
    expect(unions.get('Strategy')).toContain('blue_green')
    expect(tables.size).toBeGreaterThan(0)
    expect(readDeclarations('domain/errors.ts').tables.get('errorTable')?.[0]).toMatchObject({
      name: 'body_not_json',
      heading: 'Requests.',
    })
  })

  it('are escaped for tables', () => {
    expect(markdownTable(['a'], [['x | y\nz'], ['']])).toBe('| a |\n| --- |\n| x \\| y z |\n| – |')
    expect([durationOf(90_000), durationOf(3_600_000), durationOf(50)]).toEqual(['90 s', '1 h', '50 ms'])
    expect(valueOf('shareBp', 500)).toBe('`500` (5 %)')
  })
})
