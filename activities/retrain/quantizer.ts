/** Runs work that quantizes ONNX files: makes the Python environment of the program once for a machine, and a folder for its files. */
import { spawnSync } from 'node:child_process'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { Quantizer } from '@tenure/predictors/format-names'
import { checkout, systemEnvironment } from '../../temporal.config.ts'
import type { Deps } from '../deps.ts'
import { openAttempt } from '../trainers/attempt-folder.ts'
import { inGroup, installPython, type Installing } from '../trainers/program.ts'

/** The memory limit of the program. A file of 64 MiB, the most that is read, was quantized with 600. */
const limitMb = 2_048

const isRoot = process.getuid?.() === 0
const offline = ['unshare', ...(isRoot ? [] : ['--user', '--map-root-user']), '--net', '--']
/** Where the system makes no namespace of the network, the program keeps that of the worker. */
const hasNamespaces = (): boolean =>
  spawnSync('/usr/bin/env', [...offline, 'true'], { env: systemEnvironment() }).status === 0

/** Returns the command of the program. Throws `environment_failed`, naming what is missing or cannot be installed. */
export async function prepareQuantizer(
  deps: Parameters<typeof installPython>[0],
  installing: Installing,
): Promise<string[]> {
  const folder = join(checkout, 'packages', 'python', 'src', 'tenure')
  const requirements = join(folder, 'quantize-requirements.txt')
  const { python } = await installPython(deps, { requirements, onlyBuilt: true }, installing)
  // -I: no variable and no file of the working directory changes what is imported.
  const program = [python, '-I', join(folder, '_quantize.py')]
  return inGroup(hasNamespaces() ? [...offline, ...program] : program, limitMb)
}

/**
 * Runs `work` with a folder for the files of the program, and removes it, also after the process that fills it was killed. What a killed
 * worker has left is removed at the next attempt.
 */
export async function withQuantizer<T>(
  deps: Parameters<typeof prepareQuantizer>[0] & { config: Pick<Deps['config'], 'artifactRoot'> },
  { trainingId, attempt, ...installing }: { trainingId: string; attempt: number } & Installing,
  work: (quantizer: Quantizer) => Promise<T>,
): Promise<T> {
  const command = await prepareQuantizer(deps, installing)
  const { scratch } = await openAttempt(deps.config.artifactRoot, { trainingId, attempt, of: 'quantizing' })
  try {
    return await work({ command, folder: scratch })
  } finally {
    // The program may still write while it is killed.
    await rm(scratch, { recursive: true, force: true, maxRetries: 5 })
  }
}
