/** Shows a runbook from docs/runbooks. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { DomainError } from '../../../../domain/errors.ts'
import { withNames } from '../../../../domain/monitoring/alert-kinds.ts'
import { checkout } from '../../../../temporal.config.ts'
import { definePage } from '../../page.ts'
import { Crumbs } from '../../components/links.tsx'
import { Markdown } from '../../components/markdown.tsx'

/** Reads a runbook. The name consists of letters and dashes, so it cannot be a path. */
export async function readRunbook(name: string): Promise<string | undefined> {
  if (!/^[a-z][a-z0-9-]{0,60}$/.test(name)) return undefined
  for (const place of [`${name}.md`, join('prometheus', `${name}.md`)]) {
    const found = await readFile(join(checkout, 'docs', 'runbooks', place), 'utf8').catch(() => undefined)
    if (found !== undefined) return found
  }
  return undefined
}

/** Returns the steps of a runbook with the names of the alert in their commands; undefined without steps. */
export function stepsOf(source: string, alert: Parameters<typeof withNames>[1]): string | undefined {
  const [, steps] = /^## What to do\n([^]*?)(?=^## |$(?![^]))/m.exec(source) ?? []
  return steps && withNames(steps, alert)
}

export const runbookArticle = definePage({
  async load(_deps, { params }) {
    const name = params['page'] ?? ''
    const source = await readRunbook(name)
    if (source === undefined)
      throw new DomainError('not_found', `there is no runbook ${JSON.stringify(name.slice(0, 60))}`)
    return { source, title: /^#\s+(.*)$/m.exec(source)?.[1] ?? name }
  },
  title: ({ title }) => title,
  view: ({ source }) => (
    <>
      <Crumbs to={[['/alerts', 'Alerts']]} />
      <article class="card">
        <Markdown source={source} />
      </article>
    </>
  ),
})
