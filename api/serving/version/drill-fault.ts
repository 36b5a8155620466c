/**
 * Injects the fault that the manifest of a drill version declares, so that it responds like a broken model. Only that version has the
 * fault, and it can never become champion.
 */
import type { DrillFault } from '../../../domain/drill.ts'
import type { Predictor } from '@tenure/predictors'
import type { LoadedVersion } from './loaded-version.ts'

/** Returns the version with its fault; unchanged unless it was made for a drill. */
export function withInjectedFault(loaded: LoadedVersion): LoadedVersion {
  const fault = loaded.manifest.drill
  if (fault === undefined || fault.kind === 'silent') return loaded
  return { ...loaded, predictor: broken(loaded.predictor, fault) }
}

/** Whether the responses of the version are left out of its release's counts, which simulates a candidate without traffic. */
export const isSilent = ({ manifest }: Pick<LoadedVersion, 'manifest'>): boolean =>
  manifest.drill?.kind === 'silent'

function broken(predictor: Predictor, { kind, share, slowMs = 0 }: DrillFault): Predictor {
  return {
    ...predictor,
    // A predictor with `trouble` is not checked against its golden rows again, so the replica does not count as broken.
    trouble: predictor.trouble ?? (() => undefined),
    run(input, rows, output, order, texts) {
      if (Math.random() >= share) return predictor.run(input, rows, output, order, texts)
      if (kind === 'bad') throw new Error('it was made to fail, for a drill')
      if (kind === 'slow') {
        const until = performance.now() + slowMs
        while (performance.now() < until);
      }
      const running = predictor.run(input, rows, output, order, texts)
      if (kind !== 'nan') return running
      if (running !== undefined) return running.then(() => void (output[0] = NaN))
      output[0] = NaN
      return undefined
    },
  }
}
