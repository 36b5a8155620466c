// @ts-check
// Starts the thread of TensorFlow.js. A thread does not inherit what translates the sources of its process, so it brings its own.
import { register } from 'tsx/esm/api'

register()
await import('./tfjs-worker.ts')
