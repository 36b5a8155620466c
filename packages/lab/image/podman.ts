/** Builds images with buildah and runs containers with podman, as root and without a registry. */
import { execFile } from 'node:child_process'
import { readdirSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { checkout, environmentWith } from '../../../temporal.config.ts'

const run = promisify(execFile)

/** Overlays need no copy of each layer, and containers within a container may not make namespaces for a build. */
const environment = environmentWith({ STORAGE_DRIVER: 'overlay', BUILDAH_ISOLATION: 'chroot' })

async function call(command: string, args: readonly string[]): Promise<string> {
  const { stdout, stderr } = await run(command, args, {
    cwd: checkout,
    env: environment,
    maxBuffer: 1 << 28,
  })
  // The errors of a container follow its output.
  return (args.includes('logs') ? `${stdout}${stderr}` : stdout).trim()
}

export const buildah = (...args: string[]): Promise<string> => call('buildah', args)

export const podman = (...args: string[]): Promise<string> =>
  call('podman', [
    '--cgroup-manager',
    'cgroupfs',
    '--runtime',
    join(checkout, 'deploy/image/runc.sh'),
    ...args,
  ])

export const localNode = 'localhost/node:24-bookworm'
export const localBase = 'localhost/distroless/cc-debian12:nonroot'

/** Builds the two base images from packages if they are missing; the Dockerfile itself names public ones. */
export async function prepareBases(): Promise<void> {
  const { length } = (await buildah('images', '-q', localNode).catch(() => '')).split('\n')[0] ?? ''
  if (length === 0) await call(join(checkout, 'deploy/image/base.sh'), [])
}

/** Builds the Dockerfile of the checkout. Only the first stage uses the certificate of this machine's proxy. */
export async function buildImage(tag: string, { trains = false } = {}): Promise<number> {
  const startedMs = performance.now()
  const certificates = environment['NODE_EXTRA_CA_CERTS']
  const given = {
    NODE: localNode,
    BASE: localBase,
    ...(trains && { TRAINS: '--trains' }),
    ...(certificates && { NODE_EXTRA_CA_CERTS: certificates, PIP_CERT: certificates }),
  }
  const settings = Object.entries(given).flatMap(([name, value]) => ['--build-arg', `${name}=${value}`])
  const volumes = certificates === undefined ? [] : ['--volume', `${certificates}:${certificates}:ro`]
  const options = ['--layers', '--pull-never', '--network', 'host', '--tag', tag]
  await buildah('bud', ...options, ...settings, ...volumes, '.')
  return (performance.now() - startedMs) / 1_000
}

export interface ImageSize {
  /** Unpacked size, as `podman images` shows it. */
  mb: number
  /** Size in a registry. */
  packedMb: number
}

export async function imageSizeOf(tag: string): Promise<ImageSize> {
  const bytes = Number(await podman('image', 'inspect', '--format', '{{.Size}}', tag))
  const folder = join(tmpdir(), `tenure-image-${process.pid}`)
  await buildah('push', '--quiet', tag, `oci:${folder}:latest`)
  const blobs = join(folder, 'blobs/sha256')
  const packed = readdirSync(blobs).reduce((sum, name) => sum + statSync(join(blobs, name)).size, 0)
  rmSync(folder, { recursive: true })
  return { mb: bytes / 1e6, packedMb: packed / 1e6 }
}
