// @ts-check
// Compiles the processes. A process compiles itself if its sources are newer, but the first start must not wait for that.
import { buildAll, findStale } from '../build/build-all.mjs'

/** @param {{ root: string }} context @returns {import('./step.mjs').SetupStep} */
export function processes({ root }) {
  return {
    name: 'processes',
    needs: [],
    async missing() {
      const stale = await findStale(root)
      return stale.length === 0 ? undefined : `to be compiled: ${stale.join(', ')}`
    },
    async make(update) {
      const stale = await findStale(root)
      update('compiling the sources')
      await buildAll(root)
      return `compiled: ${stale.join(', ')}`
    },
  }
}
