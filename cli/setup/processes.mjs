// @ts-check
// Compiles the processes. A process compiles its code if a source has changed, but the first start must not wait for that.
import { existsSync } from 'node:fs'
import { buildOf } from '../build/sources.mjs'

/** @param {{ root: string }} context @returns {import('./packages.mjs').Step} */
export function processes({ root }) {
  return {
    name: 'processes',
    needs: [],
    missing: async () => (existsSync(buildOf(root)) ? undefined : 'to be compiled'),
    async make(update) {
      update('compiling the sources')
      // Loaded on use, because the packages may not be installed yet.
      const { buildAll } = await import('../build/build.mjs')
      await buildAll(root)
      return 'compiled'
    },
  }
}
