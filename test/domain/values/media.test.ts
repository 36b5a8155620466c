/** Tests which texts are vectors and images, and what the headers of images say. */
import { expect, it } from 'vitest'
import {
  imageIssue,
  imagePattern,
  isRawImage,
  readImageHeader,
  readVector,
  vectorPattern,
} from '../../../domain/values/media.ts'

/** 20 by 30 pixels, by Pillow. */
const images = {
  png: 'iVBORw0KGgoAAAANSUhEUgAAABQAAAAeCAIAAACjcKk8AAAAIklEQVR4nGM8wcXFQC5gIlvnqOZRzaOaRzWPah7VPAQ0AwABsQEY0Z2Y3gAAAABJRU5ErkJggg==',
  gif: 'R0lGODdhFAAeAIEAAMgKCgAAAAAAAAAAACwAAAAAFAAeAEAIKgABCBxIsKDBgwgTKlzIsKHDhxAjSpxIsaLFixgzatzIsaPHjyBDiiwYEAA7',
  jpeg: '/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDACgcHiMeGSgjISMtKygwPGRBPDc3PHtYXUlkkYCZlo+AjIqgtObDoKrarYqMyP/L2u71////m8H////6/+b9//j/2wBDASstLTw1PHZBQXb4pYyl+Pj4+Pj4+Pj4+Pj4+Pj4+Pj4+Pj4+Pj4+Pj4+Pj4+Pj4+Pj4+Pj4+Pj4+Pj4+Pj4+Pj/wAARCAAeABQDASIAAhEBAxEB/8QAHwAAAQUBAQEBAQEAAAAAAAAAAAECAwQFBgcICQoL/8QAtRAAAgEDAwIEAwUFBAQAAAF9AQIDAAQRBRIhMUEGE1FhByJxFDKBkaEII0KxwRVS0fAkM2JyggkKFhcYGRolJicoKSo0NTY3ODk6Q0RFRkdISUpTVFVWV1hZWmNkZWZnaGlqc3R1dnd4eXqDhIWGh4iJipKTlJWWl5iZmqKjpKWmp6ipqrKztLW2t7i5usLDxMXGx8jJytLT1NXW19jZ2uHi4+Tl5ufo6erx8vP09fb3+Pn6/8QAHwEAAwEBAQEBAQEBAQAAAAAAAAECAwQFBgcICQoL/8QAtREAAgECBAQDBAcFBAQAAQJ3AAECAxEEBSExBhJBUQdhcRMiMoEIFEKRobHBCSMzUvAVYnLRChYkNOEl8RcYGRomJygpKjU2Nzg5OkNERUZHSElKU1RVVldYWVpjZGVmZ2hpanN0dXZ3eHl6goOEhYaHiImKkpOUlZaXmJmaoqOkpaanqKmqsrO0tba3uLm6wsPExcbHyMnK0tPU1dbX2Nna4uPk5ebn6Onq8vP09fb3+Pn6/9oADAMBAAIRAxEAPwCnRRRWJ6QUUUUAFFFFABRRRQB//9k=',
  'jpeg progressive':
    '/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDACgcHiMeGSgjISMtKygwPGRBPDc3PHtYXUlkkYCZlo+AjIqgtObDoKrarYqMyP/L2u71////m8H////6/+b9//j/2wBDASstLTw1PHZBQXb4pYyl+Pj4+Pj4+Pj4+Pj4+Pj4+Pj4+Pj4+Pj4+Pj4+Pj4+Pj4+Pj4+Pj4+Pj4+Pj4+Pj4+Pj/wgARCAAeABQDASIAAhEBAxEB/8QAFQABAQAAAAAAAAAAAAAAAAAAAAP/xAAWAQEBAQAAAAAAAAAAAAAAAAAAAgT/2gAMAwEAAhADEAAAAYiNIAAH/8QAFBABAAAAAAAAAAAAAAAAAAAAMP/aAAgBAQABBQJP/8QAFBEBAAAAAAAAAAAAAAAAAAAAIP/aAAgBAwEBPwEf/8QAFBEBAAAAAAAAAAAAAAAAAAAAIP/aAAgBAgEBPwEf/8QAFBABAAAAAAAAAAAAAAAAAAAAMP/aAAgBAQAGPwJP/8QAFBABAAAAAAAAAAAAAAAAAAAAMP/aAAgBAQABPyFP/9oADAMBAAIAAwAAABAAAAD/xAAUEQEAAAAAAAAAAAAAAAAAAAAg/9oACAEDAQE/EB//xAAUEQEAAAAAAAAAAAAAAAAAAAAg/9oACAECAQE/EB//xAAUEAEAAAAAAAAAAAAAAAAAAAAw/9oACAEBAAE/EE//2Q==',
  webp: 'UklGRkwAAABXRUJQVlA4IEAAAAAwAwCdASoUAB4APm00lkekIyIhKAgAgA2JZQB2AACBxLwAAP7yIl//7FnLYEoP//ucD/ucD/ucD+Kx1QWAAAAA',
  'webp lossless': 'UklGRh4AAABXRUJQVlA4TBEAAAAvE0AHAAdQhSJXof+BiOh/AAA=',
  'webp extended':
    'UklGRnAAAABXRUJQVlA4WAoAAAAIAAAAEwAAHQAAVlA4IEAAAAAwAwCdASoUAB4APm00lkekIyIhKAgAgA2JZQB2AACBxLwAAP7yIl//7FnLYEoP//ucD/ucD/ucD+Kx1QWAAAAARVhJRgoAAABJSSoACAAAAAAA',
} as const

it.each(Object.entries(images))('the header of a %s says its size', (format, text) => {
  expect(readImageHeader(text)).toEqual({
    format: format.replace(/ .*/, ''),
    bytes: Buffer.from(text, 'base64').byteLength,
    width: 20,
    height: 30,
  })
  expect(imageIssue(text, 10_000)).toBeUndefined()
  expect(text).toMatch(new RegExp(imagePattern))
  expect(isRawImage(Buffer.from(text, 'base64'))).toBe(true)
})

it.each([
  ['another file', Buffer.from('%PDF-1.7').toString('base64'), 'is no base64 of png'],
  ['a data URL', `data:image/png;base64,${images.png}`, 'is no base64 of png'],
  ['base64 of URLs', images.png.replace(/.{4}$/, '-_-_'), 'is no base64 of png'],
  ['base64 that is cut', images.png.slice(0, -1), 'is no base64 of png'],
  ['an empty text', '', 'is no base64 of png'],
  ['a large file', images.png + 'AAAA'.repeat(40_000), 'bytes, at most 100000 are accepted'],
])('%s is no image', (_what, text, issue) => expect(imageIssue(text, 100_000)).toContain(issue))

it('an image whose header is cut has no size', () =>
  expect(readImageHeader('/9j/AAAA')).toEqual({
    format: 'jpeg',
    bytes: 6,
    width: undefined,
    height: undefined,
  }))

it.each([
  [[1, -2.5, 1e-7], '[1,-2.5,1e-7]'],
  [new Float64Array([1, 2, 3]), '[1,2,3]'],
  ['[1, 2.0, 3E+2]', '[1,2,300]'],
  ['[1,2]', undefined],
  ['[1,2,NaN]', undefined],
  ['[1,2,null]', undefined],
  ['1,2,3', undefined],
  [[1, 2, Infinity], undefined],
  [[1, 2, '3'], undefined],
  [{ length: 3 }, undefined],
  [7, undefined],
])('%j is the vector %s', (given, text) => {
  expect(readVector(given, 3)).toBe(text)
  if (typeof given === 'string')
    expect(new RegExp(vectorPattern(3), 'u').test(given)).toBe(text !== undefined)
})
