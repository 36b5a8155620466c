/** Makes the Python environment of the program that quantizes ONNX files, once for a machine. */
import { join } from 'node:path'
import { preparePython } from '../../store/python/python-environment.ts'
import { checkout, installerEnvironment } from '../../temporal.config.ts'
import type { Deps } from '../deps.ts'

/** Returns the command of the program. Throws `environment_failed`, naming what is missing or cannot be installed. */
export async function prepareQuantizer(
  { config, log }: Pick<Deps, 'log'> & { config: Pick<Deps['config'], 'cacheDir'> },
  {
    model,
    signal,
    onInstall,
  }: { model: string; signal: AbortSignal; onInstall?: (step: string | undefined) => void },
): Promise<string[]> {
  const folder = join(checkout, 'packages', 'python', 'src', 'tenure')
  const { python } = await preparePython({
    requirements: join(folder, 'quantize-requirements.txt'),
    cache: config.cacheDir,
    env: installerEnvironment(),
    signal,
    onlyBuilt: true,
    onStep(step) {
      log.info({ model }, step)
      onInstall?.(step)
    },
    onFailure: (output) => log.warn({ model, output }, 'the packages cannot be installed'),
  })
  onInstall?.(undefined)
  // -I: no variable and no file of the working directory changes what is imported.
  return [python, '-I', join(folder, '_quantize.py')]
}
