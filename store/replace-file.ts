/** Replaces files that a process reads when it starts without Postgres. */
import { mkdir, rename, rm, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'

/**
 * Replaces the file as a whole. A full disk gets room by the removal of the older file, and is left without one when the room does not
 * suffice: a process that starts must not read a route or a key that has ended. Throws the error of the disk.
 */
export async function replaceFile(path: string, text: string): Promise<void> {
  const partial = `${path}.${process.pid}`
  const write = async (): Promise<void> => {
    try {
      await writeFile(partial, text, { mode: 0o600 })
      await rename(partial, path)
    } catch (error) {
      await rm(partial, { force: true })
      throw error
    }
  }
  await mkdir(dirname(path), { recursive: true })
  await write().catch(async () => {
    await rm(path, { force: true })
    await write()
  })
}
