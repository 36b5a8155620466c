/** `tenure open`: opens the page of a model, version, release, retraining or sweep in the browser. */
import { failure, path, usageError } from '../../client/client.ts'
import type { CommandSpec } from '../../program.ts'
import { openBrowser } from '../../supervisor/browser.ts'

interface Found {
  kind: string
  id: string
  path: string
}

export const openCommand: CommandSpec = {
  name: 'open [name]',
  summary: 'Open a model, version, release, retraining or sweep in the browser (default: the overview)',
  options: [
    ['--phone', 'Open the page that shows a code, which signs in on a phone instead of a key'],
    ['--print', 'Print the address only'],
  ],
  examples: [
    'open',
    'open --phone',
    'open flight-delay',
    'open flight-delay_v1.4.0',
    'open rel_01h… --print',
  ],
  async run({ terminal, api }, { args, options }) {
    const [name] = args
    const phone = options['phone'] === true
    if (phone && name !== undefined) throw usageError('--phone opens the page for a code, and takes no name')
    const url = new URL(phone ? '/device' : name === undefined ? '/' : await pathOf(name), api().url).href
    terminal.answer({ url }, url)
    openBrowser(url, {
      wanted: options['print'] === true ? false : undefined,
      interactive: terminal.interactive,
    })

    async function pathOf(named: string): Promise<string> {
      const { results } = await api().get<{ results: Found[] }>('/v1/search', { q: named })
      // The search also finds parts of names.
      const found = results.find(({ id, kind }) => id === named && kind !== 'audit')
      if (found !== undefined) return found.path
      const near = results.flatMap(({ id, kind }) => (kind === 'audit' ? [] : [id])).slice(0, 3)
      throw failure({
        code: 'not_found',
        status: 404,
        detail: `There is no model, version, release, retraining or sweep ${named}`,
        remedy:
          near.length === 0
            ? `See ${new URL(path`/search?q=${named}`, api().url).href}.`
            : `Similar: ${near.join(', ')}.`,
      })
    }
  },
}
