/** Bundles the simulator's sources, with or without a planted bug. */
import { bundle as bundleOf } from '@tenure/simulator/bundle'
import { packageSources } from '../../cli/build/sources.mjs'
import { checkout } from '../../temporal.config.ts'
import type { Plant } from './planted-bugs.ts'

export const bundle = (plant?: Plant) =>
  bundleOf({
    root: checkout,
    entry: 'test/simulation/seed-worker.ts',
    alias: packageSources(checkout),
    plant,
  })
