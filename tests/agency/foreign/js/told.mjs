/** What a program here is asked: one JSON object on its standard input. What it has seen goes out the same way. */
import { readFileSync } from 'node:fs';

export const told = JSON.parse(readFileSync(0, 'utf8'));

export function seen(value) {
  console.log(JSON.stringify(value));
}
