/** The Python packages of the interop tests, installed once in the cache of this machine. */
import { dirname, join } from 'node:path'
import { installerEnvironment } from '../../activities/trainers/program-environment.ts'
import { preparePython } from '../../activities/trainers/python-environment.ts'
import { cacheDir, checkout } from '../../temporal.config.ts'

const installMs = 600_000

/** The directory of the programs, or why they cannot be installed: without a network the tests are skipped. */
export async function pythonOrReason(): Promise<{ bin: string; python: string } | { reason: string }> {
  try {
    const { python } = await preparePython({
      requirements: join(checkout, 'test', 'interop', 'requirements.txt'),
      cache: cacheDir(),
      env: installerEnvironment(),
      signal: AbortSignal.timeout(installMs),
    })
    return { python, bin: dirname(python) }
  } catch (error) {
    return { reason: (error as Error).message.slice(0, 200) }
  }
}
