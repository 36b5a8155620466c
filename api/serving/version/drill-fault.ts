/**
 * The fault that the version of a drill carries in its manifest: this replica makes its answers what a broken model would give.
 * It is bound to that one version, which can never be champion; a switch that spoils any version by its name could be forgotten.
 */
import type { DrillFault } from '../../../domain/drill.ts'
import type { Predictor } from '../network/scalar-predictor.ts'
import type { LoadedVersion } from './loaded-version.ts'

/** The version as it answers callers; one that was made for no drill, as it is. */
export function withInjectedFault(loaded: LoadedVersion): LoadedVersion {
  const fault = loaded.manifest.drill
  if (fault === undefined || fault.kind === 'silent') return loaded
  return { ...loaded, predictor: broken(loaded.predictor, fault) }
}

/** Whether what a version answers is kept from the counts of its release, as of a candidate that nobody hears of. */
export const isSilent = ({ manifest }: Pick<LoadedVersion, 'manifest'>): boolean =>
  manifest.drill?.kind === 'silent'

function broken(predictor: Predictor, { kind, share, slowMs = 0 }: DrillFault): Predictor {
  return {
    ...predictor,
    // That its golden rows are answered otherwise is no reason to take the replica for broken.
    trouble: predictor.trouble ?? (() => undefined),
    run(input, rows, output, order) {
      if (Math.random() >= share) return predictor.run(input, rows, output, order)
      if (kind === 'bad') throw new Error('it was made to fail, for a drill')
      if (kind === 'slow') {
        const until = performance.now() + slowMs
        while (performance.now() < until);
      }
      const running = predictor.run(input, rows, output, order)
      if (kind !== 'nan') return running
      if (running !== undefined) return running.then(() => void (output[0] = NaN))
      output[0] = NaN
      return undefined
    },
  }
}
