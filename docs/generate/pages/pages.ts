/** Lists the generated pages and finds those that differ from the code. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { metricsPage } from '../../../api/metrics/metric-catalogue.ts'
import { statesPage } from '../../../test/support/docs/states-page.ts'
import { commandsPage } from './commands.ts'
import { configurationPage } from './configuration.ts'
import { errorsPage } from './errors.ts'
import { judgesPage } from './judged.ts'
import { modelFilePage } from './model-file.ts'
import { policyPage } from './policy.ts'
import { routesPage } from './routes.ts'
import { surfacePage } from './surface.ts'

const note =
  '<!-- Written by `npm run docs` from the code; `npm run check` fails when the two differ. -->\n\n'

const makers: Readonly<Record<string, () => string | Promise<string>>> = {
  'model-file.md': modelFilePage,
  'policy.md': policyPage,
  'states.md': statesPage,
  'commands.md': commandsPage,
  'http.md': routesPage,
  'errors.md': errorsPage,
  'metrics.md': metricsPage,
  'configuration.md': configurationPage,
}

/** Returns file name → text; of docs/reference/judges.md only a table is written. Throws if a member has no comment. */
export async function makePages(): Promise<ReadonlyMap<string, string>> {
  const pages = new Map<string, string>()
  for (const [name, make] of Object.entries(makers)) pages.set(name, `${note}${(await make()).trimEnd()}\n`)
  pages.set('surface.md', `${note}${surfacePage(pages).trimEnd()}\n`)
  return pages.set('judges.md', judgesPage())
}

/** Returns the pages of a directory that are missing or differ. */
export function differing(pages: ReadonlyMap<string, string>, directory: string): string[] {
  return [...pages].flatMap(([name, page]) => {
    const path = join(directory, name)
    return existsSync(path) && readFileSync(path, 'utf8') === page ? [] : [name]
  })
}
