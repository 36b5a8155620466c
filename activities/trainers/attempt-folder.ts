/**
 * Manages the folders of a training program: checkpoints, result and temporary files. Each attempt has its own folders with a copy of the
 * checkpoints, because a timed-out attempt may still write.
 */
import { cp, lstat, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { absentFile } from '../../store/absent-file.ts'
import { requireReachable } from '../../store/artifact-marker.ts'

export interface AttemptFolder {
  checkpoints: string
  output: string
  scratch: string
}

/** Shared by the workers. It lies among the drafts, which `collectArtifacts` deletes after a day. */
const folderOf = (artifactRoot: string, trainingId: string): string =>
  join(artifactRoot, 'drafts', 'trainings', trainingId.replaceAll(/[^\w-]/g, '_'))

const ownDirectory = { recursive: true, mode: 0o700 }

export function attemptFolder(
  artifactRoot: string,
  { trainingId, attempt }: { trainingId: string; attempt: number },
): AttemptFolder {
  const own = join(folderOf(artifactRoot, trainingId), String(attempt))
  return { checkpoints: join(own, 'checkpoints'), output: join(own, 'output'), scratch: join(own, 'tmp') }
}

/**
 * Makes the folders of an attempt. Copies the checkpoints of the last attempt with the same `of`, and removes the folders of all earlier
 * attempts.
 */
export async function openAttempt(
  artifactRoot: string,
  { trainingId, attempt, of }: { trainingId: string; attempt: number; of: string },
): Promise<AttemptFolder> {
  await requireReachable(artifactRoot)
  const training = folderOf(artifactRoot, trainingId)
  const own = join(training, String(attempt))
  const folder = attemptFolder(artifactRoot, { trainingId, attempt })
  // This attempt may have started before on a worker that died at once.
  await rm(own, { recursive: true, force: true })
  const earlier = ((await readdir(training).catch(absentFile)) ?? [])
    .map(Number)
    .filter((each) => each < attempt)
    .sort((a, b) => b - a)
  for (const path of Object.values(folder)) await mkdir(path, ownDirectory)
  for (const each of earlier) {
    const before = join(training, String(each))
    if ((await readFile(join(before, 'of'), 'utf8').catch(() => undefined)) !== of) continue
    await cp(join(before, 'checkpoints'), folder.checkpoints, {
      recursive: true,
      // A link, such as to the last checkpoint, stays one: the program that made it reads it. Copying a pipe would fail every attempt.
      verbatimSymlinks: true,
      filter: async (path) => {
        const found = await lstat(path)
        return found.isFile() || found.isDirectory() || found.isSymbolicLink()
      },
    })
    break
  }
  await writeFile(join(own, 'of'), of)
  for (const each of earlier) await rm(join(training, String(each)), { recursive: true, force: true })
  return folder
}

export const removeAttempts = (artifactRoot: string, trainingId: string): Promise<void> =>
  rm(folderOf(artifactRoot, trainingId), { recursive: true, force: true })
