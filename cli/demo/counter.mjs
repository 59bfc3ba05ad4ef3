// The demo's job: counts, writes down that it does, and ends.
const upTo = Number(process.env.COUNT_TO);
let sum = 0;
for (let i = 1; i <= upTo; i++) sum += i;
console.log(`counting to ${upTo}`);
console.log(`the sum is ${sum}`);
