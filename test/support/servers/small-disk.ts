/** Mounts a small disk that a test can fill and free quickly. Requires root; other users get no disk. */
import { execFileSync } from 'node:child_process'
import { chmodSync, mkdtempSync, rmSync, statfsSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export interface SmallDisk {
  path: string
  /** Shrinks the disk to its contents, so that no byte is free. */
  fill(): void
  free(): void
  close(): void
}

export function mountSmallDisk(sizeMb: number): SmallDisk | undefined {
  if (process.getuid?.() !== 0) return undefined
  const path = mkdtempSync(join(tmpdir(), 'tenure-disk-'))
  const mount = (options: string) =>
    execFileSync('mount', ['-t', 'tmpfs', '-o', options, 'tmpfs', path], { stdio: 'ignore' })
  try {
    mount(`size=${sizeMb}m`)
  } catch {
    rmSync(path, { recursive: true })
    return undefined
  }
  // Postgres runs as another user.
  chmodSync(path, 0o711)
  const shrink = (): boolean => {
    const { blocks, bfree, bsize } = statfsSync(path)
    try {
      mount(`remount,size=${(blocks - bfree) * bsize}`)
      return statfsSync(path).bfree === 0
    } catch {
      // A write came in between; the kernel refuses a size below the used size.
      return false
    }
  }
  return {
    path,
    fill() {
      for (let tries = 0; !shrink(); tries++) if (tries === 100) throw new Error('the disk cannot be filled')
    },
    free: () => void mount(`remount,size=${sizeMb}m`),
    close() {
      execFileSync('umount', ['-l', path])
      rmSync(path, { recursive: true, force: true })
    },
  }
}
